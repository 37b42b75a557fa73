"""The groups of a Parquet source: from its column to the manifest, and splits that take them whole."""

import random
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources import TEN, picture

from varc.data.manifest import columns, manifest, rows
from varc.data.splits import SPLITS
from varc.errors import InputError
from varc.groups import in_order, numbered
from varc.storage import MANIFEST, read_groups, write_parquet

FRACTIONS = {"train": 55, "validation": 10, "calibration": 10, "test": 25}  # percent


def write(path, groups, labels=None, pictures=None, column="font"):
    """A Parquet file of a picture for each group that is given."""
    n = len(groups)
    images = pa.array(pictures or [picture(i % 250) for i in range(n)], pa.binary())
    table = {"image": images, "label": [i % 10 for i in range(n)] if labels is None else labels, column: groups}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)


def spec(root, **keys):
    return {"reader": "parquet", "root": str(root), "size": 8, "group_column": "font", **keys}


def listed(root, **keys):
    return manifest(spec(root, **keys), TEN)[0]


@pytest.mark.parametrize(
    "groups",
    [
        pa.array(["7", "8", "7"]),
        pa.array(["7", "8", "7"], pa.large_string()),
        pa.array([7, 8, 7], pa.int16()),
        pa.array(["7", "8", "7"]).dictionary_encode(),
    ],
)
def test_groups_are_text_or_whole_numbers(tmp_path, groups):
    write(tmp_path / "a.parquet", groups)
    assert [row.group for row in listed(tmp_path)] == ["7", "8", "7"]


def test_without_the_key_there_are_none(tmp_path):
    write(tmp_path / "a.parquet", ["x", "y"])
    without = {key: value for key, value in spec(tmp_path).items() if key != "group_column"}
    assert [row.group for row in manifest(without, TEN)[0]] == [None, None]
    digits = manifest({"reader": "digits", "split": "validation"}, TEN)[0]
    assert {row.group for row in digits} == {None}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["x", None, "y"], r"b\.parquet: row 1 has no font; write its group into it, or take the row away"),
        (["x", "y", ""], r"b\.parquet: row 2 has no font"),
        (["x", "y", " \t"], r"b\.parquet: row 2 has no font"),
        (pa.array(["x", None, "y"]).dictionary_encode(), r"b\.parquet: row 1 has no font"),
        (pa.array([1, None, 2]), r"b\.parquet: row 1 has no font"),
        ([1.0, 2.0, 3.0], r"b\.parquet: column font holds double, expected whole numbers or text; set group_column"),
        ([True, False, True], r"b\.parquet: column font holds bool, expected whole numbers or text; set group_column"),
        ([["x"], ["x"], ["y"]], r"b\.parquet: column font holds list.*; set group_column"),
    ],
)
def test_a_row_without_a_group_and_a_column_of_something_else_are_named(tmp_path, groups, message):
    write(tmp_path / "a.parquet", ["x", "y"])
    write(tmp_path / "b.parquet", groups)
    with pytest.raises(InputError, match=message):
        listed(tmp_path)


def test_an_absent_column_is_named(tmp_path):
    write(tmp_path / "a.parquet", ["x", "y"], column="family")
    with pytest.raises(InputError, match=r"a\.parquet: has no column font, but image, label, family; set group_column"):
        listed(tmp_path)


def test_of_a_groups_name_only_unicodes_nfc_counts(tmp_path):
    """é as one character and as two: the same group, also over files, and so in one split."""
    one, two = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    assert one != two
    write(tmp_path / "a.parquet", [one, two, *(f"font {i}" for i in range(8))])
    write(tmp_path / "b.parquet", [two])
    assert Counter(row.group for row in listed(tmp_path))[one] == 3
    found = [row.group for split in SPLITS for row in listed(tmp_path, split=split) if row.group == one]
    assert len(found) == 3
    assert max(sum(row.group == one for row in listed(tmp_path, split=split)) for split in SPLITS) == 3


def source(root, order, files):
    """100 groups of 1 to 9 images in some order of rows and files; a label tells the group and the image."""
    images = [(f"font {g:02d}", i) for g in range(100) for i in range(g % 9 + 1)]
    order(images)
    for number, part in enumerate(np.array_split(np.arange(len(images)), files)):
        labels = [images[i][1] for i in part]
        write(root / f"{number}.parquet", [images[i][0] for i in part], labels)
    return root


def test_splits_take_whole_groups_by_their_number(tmp_path):
    root = source(tmp_path, random.Random(0).shuffle, 3)
    found = {split: listed(root, split=split) for split in SPLITS}
    groups = {split: {row.group for row in rows} for split, rows in found.items()}
    assert {split: len(own) for split, own in groups.items()} == FRACTIONS
    assert len(set().union(*groups.values())) == 100  # none is in two, whatever their sizes
    assert sorted(row for rows in found.values() for row in rows) == listed(root)


def test_the_split_of_a_group_depends_on_no_order_of_rows_or_files(tmp_path):
    def split_of(root):
        return {row.group: split for split in SPLITS for row in listed(root, split=split)}

    one, other = source(tmp_path / "a", list.sort, 1), source(tmp_path / "b", random.Random(1).shuffle, 4)
    assert split_of(one) == split_of(other)
    images = [sorted((row.group, row.label) for row in listed(root, split="test")) for root in (one, other)]
    assert images[0] == images[1]


def test_splits_without_groups_are_stratified_by_label(tmp_path):
    for file, n in (("a", 130), ("b", 70)):
        write(tmp_path / f"{file}.parquet", ["x"] * n, [i % 2 for i in range(n)])
    without = {key: value for key, value in spec(tmp_path).items() if key != "group_column"}
    found = {split: manifest({**without, "split": split}, TEN)[0] for split in SPLITS}
    counts = {split: Counter(row.label for row in rows) for split, rows in found.items()}
    assert counts == {split: {0: percent, 1: percent} for split, percent in FRACTIONS.items()}
    assert sorted(row for rows in found.values() for row in rows) == manifest(without, TEN)[0]


def test_one_group_is_in_one_split_and_the_others_are_empty(tmp_path):
    write(tmp_path / "a.parquet", ["x"] * 5)
    assert len(listed(tmp_path, split="test")) == 5
    with pytest.raises(InputError, match="split train: no images; expected at least one"):
        listed(tmp_path, split="train")


def test_groups_with_per_class_and_unreadable_pictures(tmp_path):
    """What is left out takes its group with it; what stays keeps its own, and its split."""
    pictures = [picture(i) for i in range(40)]
    pictures[3] = b"no picture"
    write(tmp_path / "a.parquet", [f"font {i // 2}" for i in range(40)], [0, 1] * 20, pictures)
    everything = {row.image_id: row for row in manifest(spec(tmp_path), TEN)[0]}
    readable, left_out = manifest(spec(tmp_path, skip_unreadable=True), TEN)
    assert [row.path for row in left_out] == ["a.parquet:000003"] and len(readable) == 39
    for split in SPLITS:
        few, _ = manifest(spec(tmp_path, split=split, per_class=1, skip_unreadable=True), TEN)
        whole = listed(tmp_path, split=split)
        assert 1 <= len(few) <= 2 and set(few) <= set(whole)
        assert all(everything[row.image_id] == row for row in whole)


def test_a_manifests_groups_survive_its_file(tmp_path):
    write(tmp_path / "a.parquet", ["x", "y", "x", "z"])
    found = listed(tmp_path)
    write_parquet(tmp_path / "m.parquet", columns(found), MANIFEST, {})
    assert rows(pq.read_table(tmp_path / "m.parquet")) == found
    assert read_groups(tmp_path / "m.parquet").tolist() == [0, 1, 0, 2]
    assert read_groups(tmp_path / "m.parquet", [found[i].image_id for i in (3, 2, 0)]).tolist() == [0, 1, 1]
    assert read_groups(tmp_path / "m.parquet", [found[i].image_id for i in (3, 2)]) is None  # each is its own
    earlier = pq.read_table(tmp_path / "m.parquet").drop_columns(["group"])
    assert rows(earlier) == [row._replace(group=None) for row in found]


def test_numbers_of_groups():
    assert in_order("cabac").tolist() == [0, 1, 2, 1, 0]
    assert numbered(None) is numbered([]) is numbered([None, None]) is numbered(["a", "b"]) is numbered(["a"]) is None
    assert numbered(["b", "a", "b"]).tolist() == [0, 1, 0] and numbered(["a", "a"]).tolist() == [0, 0]
    with pytest.raises(ValueError, match="1 of 3 images have no group"):
        numbered(["a", None, "a"])
