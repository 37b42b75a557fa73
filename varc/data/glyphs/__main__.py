"""Draw the benchmark of 100 characters from font files.

FONTS are folders with ttf, otf and woff2 files, at any depth. OUT gets a Parquet file per split (train/glyphs.parquet
and so on; columns image, label, group) for the reader `parquet`, the class list classes.csv, and fonts.csv: each face
with the SHA-256 and licence of its file. The same files give the same pictures, wherever they lie.
"""

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from varc.data.glyphs import CHARACTERS, SIDE
from varc.data.glyphs.drawing import draw
from varc.data.glyphs.fonts import Face, chosen_faces, font_files, read_face
from varc.data.glyphs.groups import (
    HELD_OUT,
    Pictures,
    correlations,
    distinct,
    grouped,
    has_twins,
    split_groups,
    unit_vectors,
    untypical,
)
from varc.data.splits import SPLITS
from varc.errors import InputError

MOST_MISSING = 15  # characters that a face of the training split may lack
ROWS = 5000  # of a row group


class Drawn(NamedTuple):
    """A face with its pictures (100, SIDE, SIDE), black where it has none."""

    face: Face
    pictures: Pictures
    group: str
    split: str


def glyphs(folders: list[Path], processes: int | None = None) -> tuple[list[Drawn], Counter[str]]:
    """The faces of the benchmark, sorted by split, group and family, and why others are left out, with how often.

    Raises InputError where there are no fonts, and where a split would have none.
    """
    left_out: Counter[str] = Counter()
    with ProcessPoolExecutor(processes) as pool:
        read = list(pool.map(partial(read_face, characters=CHARACTERS), font_files(folders), chunksize=20))
        left_out.update(face for face in read if isinstance(face, str))
        chosen = chosen_faces([face for face in read if isinstance(face, Face)], MOST_MISSING)
        left_out["another face of a family, or lacks characters"] = len(read) - left_out.total() - len(chosen)
        drawn = list(pool.map(partial(draw, characters=CHARACTERS, side=SIDE), chosen, chunksize=5))
    left_out.update(reason for reason in drawn if isinstance(reason, str))
    faces = [face for face, own in zip(chosen, drawn, strict=True) if not isinstance(own, str)]
    pictures = np.stack([own for own in drawn if not isinstance(own, str)])
    vectors = unit_vectors(pictures)
    missing = (pictures.max((2, 3)) == 0).sum(1)
    reasons = untypical(pictures, vectors, CHARACTERS)
    reasons = [
        reason or ("lacks characters" if missing[i] > MOST_MISSING else None) for i, reason in enumerate(reasons)
    ]
    left_out.update(reason for reason in reasons if reason)
    complete = (missing == 0) & ~has_twins(vectors)
    alike = correlations(vectors)
    usable = [i for i, reason in enumerate(reasons) if not reason]
    kept = distinct(alike, sorted(usable, key=lambda i: (not complete[i], i)))
    left_out["looks like another face"] = len(usable) - len(kept)
    groups = grouped([faces[i].family for i in kept], alike[np.ix_(kept, kept)])
    splits = split_groups(groups, complete[kept].tolist())
    taken: Counter[str] = Counter()
    result = []
    for i, group in zip(kept, groups, strict=True):
        taken[group] += 1
        if splits[group] == "train" or (complete[i] and taken[group] <= HELD_OUT):
            result.append(Drawn(faces[i], pictures[i], group, splits[group]))
    left_out["one of many faces of a held-out group"] = len(kept) - len(result)
    if absent := set(SPLITS) - {drawn.split for drawn in result}:
        raise InputError(f"{', '.join(map(str, folders))}: too few fonts, none for {min(absent)}; give more families")
    result.sort(key=lambda one: (SPLITS.index(one.split), one.group, one.face.family, one.face.style, one.face.sha256))
    return result, left_out


def rows(drawn: list[Drawn]) -> Iterator[tuple[dict[str, object], int, str]]:
    """The rows of a Parquet file: image, label and group of each picture."""
    for face, pictures, group, _ in drawn:
        for label in np.flatnonzero(pictures.max((1, 2))).tolist():
            content = io.BytesIO()
            # Not compressed: Parquet does that for many pictures together, in a third of the bytes.
            Image.fromarray(pictures[label]).save(content, "PNG", compress_level=0)
            path = f"{face.path.stem}/{ord(CHARACTERS[label]):04x}.png"
            yield {"bytes": content.getvalue(), "path": path}, label, group


def write(out: Path, drawn: list[Drawn], folders: list[Path]) -> dict[str, int]:
    """Writes the Parquet files, the class list and the list of fonts; returns the number of pictures of each split."""
    counts = {}
    for split in SPLITS:
        images, labels, groups = zip(*rows([one for one in drawn if one.split == split]), strict=True)
        counts[split] = len(labels)
        image = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        table = pa.table({"image": image, "label": pa.array(labels, pa.int32()), "group": pa.array(groups)})
        (out / split).mkdir(parents=True, exist_ok=True)
        path = out / split / "glyphs.parquet"
        pq.write_table(table, path, ROWS, compression="zstd", compression_level=19, data_page_size=2**23)
    with open(out / "classes.csv", "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["folder", "class_id", "name"])
        lines.writerows([i, i, character] for i, character in enumerate(CHARACTERS))
    with open(out / "fonts.csv", "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["split", "group", "family", "style", "file", "sha256", "licence"])
        for face, _, group, split in drawn:
            folder = next(folder for folder in folders if face.path.is_relative_to(folder))
            name = face.path.relative_to(folder)
            licence = face.licence or stated_beside(folder, name)
            lines.writerow([split, group, face.family, face.style, name.as_posix(), face.sha256, licence])
    return counts


def stated_beside(folder: Path, name: Path) -> str:
    """The copyright file of the Debian package that a font lies in, unpacked into a folder; empty for none."""
    found = sorted((folder / name.parts[0]).glob("usr/share/doc/*/copyright"))
    return found[0].relative_to(folder).as_posix() if found else ""


def main() -> None:
    parser = argparse.ArgumentParser("python -m varc.data.glyphs", description=__doc__)
    parser.add_argument("fonts", nargs="+", type=Path, help="folders with font files")
    parser.add_argument("out", type=Path, help="the folder to write to")
    given = parser.parse_args()
    drawn, left_out = glyphs(given.fonts)
    counts = write(given.out, drawn, given.fonts)
    for reason, number in left_out.most_common():
        print(f"left out: {number} faces: {reason}")
    for split, images in counts.items():
        own = [one for one in drawn if one.split == split]
        print(f"{split}: {images} pictures, {len(own)} faces, {len({one.group for one in own})} groups")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
