"""The benchmark's pictures in data/glyphs are what its README says."""

import csv
import io
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from varc.data.classes import read_class_list
from varc.data.glyphs import CHARACTERS, SIDE
from varc.data.glyphs.__main__ import MOST_MISSING
from varc.data.splits import SPLITS

FOLDER = Path(__file__).parents[2] / "data" / "glyphs"


@pytest.fixture(scope="module")
def fonts():
    with open(FOLDER / "fonts.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tables():
    return {split: pq.read_table(FOLDER / split / "glyphs.parquet") for split in SPLITS}


def test_no_group_and_no_file_is_in_two_splits(fonts):
    of_group, of_file = defaultdict(set), Counter(font["sha256"] for font in fonts)
    for font in fonts:
        of_group[font["group"]].add(font["split"])
    assert {len(splits) for splits in of_group.values()} == {1}
    assert set(of_file.values()) == {1}
    held_out = Counter(split for splits in of_group.values() for split in splits)
    assert held_out["test"] >= 45 and held_out["calibration"] >= 110  # a risk of 1 % of groups takes 110


def test_pictures_are_those_of_the_listed_fonts(fonts, tables):
    for split, table in tables.items():
        faces = Counter(font["group"] for font in fonts if font["split"] == split)
        counts = Counter(table["group"].to_pylist())
        assert counts.keys() == faces.keys()
        least = 100 - MOST_MISSING if split == "train" else 100
        for group, count in counts.items():
            assert least * faces[group] <= count <= 100 * faces[group]


def test_no_picture_is_in_train_and_in_test(tables):
    train = {hash(row["bytes"]) for row in tables["train"]["image"].to_pylist()}
    test = [hash(row["bytes"]) for row in tables["test"]["image"].to_pylist()]
    assert sum(picture in train for picture in test) / len(test) < 0.02  # bars and dots of unrelated fonts


def test_a_picture_is_of_the_stated_kind(tables):
    rows = tables["test"].slice(0, 200).to_pylist()
    pictures = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in rows]
    assert {(picture.mode, picture.size) for picture in pictures} == {("L", (SIDE, SIDE))}
    values = np.stack([np.asarray(picture) for picture in pictures])
    assert set(np.unique(values).tolist()) <= set(range(0, 256, 17))
    assert values.max((1, 2)).min() >= 80


def test_the_class_list_names_the_labels(tables):
    classes = read_class_list(FOLDER / "classes.csv")
    assert [entry.name for entry in classes] == list(CHARACTERS)
    for table in tables.values():
        assert set(table["label"].to_pylist()) == set(range(100))


def test_every_font_has_a_licence_and_a_package(fonts):
    packages = {line.split()[0] for line in (FOLDER / "packages.txt").read_text().splitlines()}
    for font in fonts:
        assert font["licence"] and font["file"].split("/")[0] in packages, font


def test_it_stays_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 20e6
