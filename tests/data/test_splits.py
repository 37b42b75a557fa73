from collections import Counter

from varc.data.classes import data_set_classes
from varc.data.manifest import manifest
from varc.data.splits import SPLITS, stratified_splits

FIRST_TEST_DIGITS = ["digits:0", "digits:1", "digits:1005", "digits:1006"]
LABELS = [i % 3 for i in range(300)]
KEYS = [f"source:{i}" for i in range(300)]


def test_splits_are_stratified_and_rounded_up():
    splits = stratified_splits(KEYS, LABELS, {"test": 0.25, "validation": 0.105})
    counts = Counter(zip(LABELS, splits, strict=True))
    for label in range(3):
        assert [counts[label, name] for name in ("test", "validation", "train")] == [25, 11, 64]


def test_a_split_belongs_to_the_key_not_to_the_order():
    splits = dict(zip(KEYS, stratified_splits(KEYS, LABELS, {"test": 0.25}), strict=True))
    turned = dict(zip(KEYS[::-1], stratified_splits(KEYS[::-1], LABELS[::-1], {"test": 0.25}), strict=True))
    assert turned == splits


def test_digits_are_1797_images_in_four_disjoint_splits():
    spec = {"reader": "digits"}
    listed = {split: manifest({**spec, "split": split}, data_set_classes(spec))[0] for split in SPLITS}
    assert {split: len(rows) for split, rows in listed.items()} == {
        "train": 973, "validation": 185, "calibration": 185, "test": 454,
    }  # fmt: skip
    ids = [row.image_id for rows in listed.values() for row in rows]
    assert len(set(ids)) == 1797
    for rows in listed.values():
        shares = [count / len(rows) for count in Counter(row.label for row in rows).values()]
        assert len(shares) == 10 and max(abs(share - 0.1) for share in shares) < 0.01


def test_the_digits_split_is_fixed():
    # a change would let trained models see test images
    spec = {"reader": "digits", "split": "test"}
    rows, _ = manifest(spec, data_set_classes(spec))
    assert [row.image_id for row in rows[:4]] == FIRST_TEST_DIGITS
