"""Pairs of characters of one face, and where they truly differ.

python -m varc.data.glyphs.pairs FILE OUT

FILE is a split of the benchmark (glyphs.parquet). OUT gets a CSV for `explain: pairs`: image_id, target (the picture's
own class), against (the other character), counterpart (the image_id of the other character in the same face).
"""

import argparse
import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from varc.data.glyphs import CHARACTERS
from varc.data.glyphs.difference import INK, Difference, difference

PAIRS = (
    "OQ", "EF", "PR", "CG", "AÄ", "AÅ", "EÉ", "EÊ", "NÑ", "OÖ", "UÜ", "CÇ", "OØ", "Y¥", ";:",
    "ij", "S$", "+±", "hn", "bh", "dq", "LE", "FP", "IT", "VY", "DO", "35", "38", "B8",
)  # fmt: skip
LEAST, MOST_OF_PICTURE, MOST_OF_INK = 4, 0.15, 0.6  # pixels, and shares, that a difference worth explaining takes


class Pair(NamedTuple):
    """A picture, its class, and another class whose character in the same face is known."""

    image_id: str
    target: int
    against: int
    counterpart: str


def worth_explaining(picture: NDArray[np.uint8], found: Difference) -> bool:
    """Whether a difference is large enough to be seen, and small beside the picture and its ink."""
    area = found.mask.sum()
    ink = (picture > INK * 255).sum()
    return bool(area >= LEAST and area <= MOST_OF_PICTURE * found.mask.size and area <= MOST_OF_INK * ink)


def pairs(file: Path) -> Iterator[Pair]:
    """For every picture of a split that has pairs the one whose SHA-256 is the smallest, in the file's order."""
    table = pq.read_table(file)
    labels, images = table["label"].to_pylist(), table["image"].to_pylist()
    pictures = [np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in images]
    faces: list[dict[int, int]] = []  # label -> row; the rows of a face follow each other, labels rising
    for row, label in enumerate(labels):
        if row == 0 or label <= labels[row - 1]:
            faces.append({})
        faces[-1][label] = row
    for face in faces:
        for label, row in face.items():
            others = [CHARACTERS.index(c) for c in counterparts(CHARACTERS[label])]
            fit = [
                other
                for other in others
                if other in face and worth_explaining(pictures[row], difference(pictures[row], pictures[face[other]]))
            ]
            if fit:
                other = min(fit, key=lambda other: hashlib.sha256(f"{file.name}:{row}:{other}".encode()).digest())
                yield Pair(image_id(file, row), label, other, image_id(file, face[other]))


def counterparts(character: str) -> list[str]:
    """The characters that one is paired with."""
    return [pair.replace(character, "", 1) for pair in PAIRS if character in pair]


def image_id(file: Path, row: int) -> str:
    """The image_id that the reader `parquet` gives a row."""
    return f"{file.name}:{row:06d}"


def main() -> None:
    parser = argparse.ArgumentParser("python -m varc.data.glyphs.pairs", description=__doc__)
    parser.add_argument("file", type=Path, help="a split of the benchmark")
    parser.add_argument("out", type=Path, help="the CSV to write")
    given = parser.parse_args()
    with open(given.out, "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(Pair._fields)
        lines.writerows(pairs(given.file))


if __name__ == "__main__":
    main()
