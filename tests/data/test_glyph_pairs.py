"""Where two characters of a face truly differ."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from varc.data.glyphs import CHARACTERS
from varc.data.glyphs.pairs import PAIRS, Pair, counterparts, difference, image_id, pairs, worth_explaining

FOLDER = Path(__file__).parents[2] / "data" / "glyphs"


def ring(left=8, right=24):
    """A frame two pixels wide, as an O would be."""
    picture = np.zeros((32, 32), np.uint8)
    picture[6:26, left:right] = 255
    picture[8:24, left + 2 : right - 2] = 0
    return picture


def with_bar(picture):
    found = picture.copy()
    found[14:18, 12:20] = 255
    return found


@pytest.mark.parametrize("shift", [-3, 0, 2])
def test_a_bar_is_the_difference_wherever_the_other_stands(shift):
    bar = np.zeros((32, 32), bool)
    bar[14:18, 12:20] = True
    present = difference(with_bar(ring()), np.roll(ring(), shift, 1))
    absent = difference(ring(), np.roll(with_bar(ring()), shift, 1))
    assert np.array_equal(present.mask, bar) and present.present
    assert np.array_equal(absent.mask, bar) and not absent.present


def test_an_outline_that_is_a_little_elsewhere_is_no_difference():
    wider = ring(7, 25)
    assert np.abs(ring() / 255 - wider / 255).sum() > 60
    assert not difference(ring(), wider).mask.any()
    # and what is truly there is found all the same, without the outline
    found = difference(with_bar(ring()), wider).mask
    assert found[14:18, 12:20].all() and found.sum() == 32


def test_differences_too_small_and_too_large_are_not_explained():
    picture = ring()
    assert worth_explaining(with_bar(picture), difference(with_bar(picture), picture))
    assert not worth_explaining(picture, difference(picture, picture))
    dot = picture.copy()
    dot[15, 15] = 255
    assert not worth_explaining(dot, difference(dot, picture))
    assert not worth_explaining(picture, difference(picture, 255 - picture))


def test_characters_are_paired_both_ways():
    assert counterparts("O") == ["Q", "Ö", "Ø", "D"]
    assert counterparts("Ä") == ["A"] and counterparts("Z") == []
    assert all(len(set(pair)) == 2 and set(pair) <= set(CHARACTERS) for pair in PAIRS)


@pytest.fixture(scope="module")
def committed():
    with open(FOLDER / "pairs.csv", newline="", encoding="utf-8") as file:
        return [
            Pair(r["image_id"], int(r["target"]), int(r["against"]), r["counterpart"]) for r in csv.DictReader(file)
        ]


def test_the_committed_pairs_are_those_of_the_pictures(committed):
    assert committed == list(pairs(FOLDER / "test" / "glyphs.parquet"))


def test_a_pair_is_of_one_face_and_explained_once(committed):
    file = FOLDER / "test" / "glyphs.parquet"
    table = pq.read_table(file).to_pylist()
    rows = {image_id(file, i): row for i, row in enumerate(table)}
    assert len({pair.image_id for pair in committed}) == len(committed) > 3000
    for pair in committed:
        own, other = rows[pair.image_id], rows[pair.counterpart]
        assert (own["label"], other["label"]) == (pair.target, pair.against)
        assert own["image"]["path"].split("/")[0] == other["image"]["path"].split("/")[0]
        assert own["group"] == other["group"]
    pictures = [np.asarray(Image.open(io.BytesIO(rows[name]["image"]["bytes"]))) for name in committed[0][::3]]
    assert worth_explaining(pictures[0], difference(*pictures))
