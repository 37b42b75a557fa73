"""Fixed, stratified, disjoint splits."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

SPLITS = ("train", "validation", "calibration", "test")
FRACTIONS = {"test": 0.25, "validation": 0.1, "calibration": 0.1}  # of a source that has no splits of its own


def stratified_splits(keys: Sequence[str], labels: Sequence[Any], fractions: dict[str, float]) -> list[str]:
    """The split of each image, in order.

    Within each class the images are ordered by the SHA-256 of their key, and each split in turn takes its fraction of
    the class, rounded up; the rest is "train". So a split never depends on a seed, a library version or the order.
    """
    splits = ["train"] * len(keys)
    for label in set(labels):
        members = [i for i, own in enumerate(labels) if own == label]
        members.sort(key=lambda i: hashlib.sha256(keys[i].encode()).digest())
        first = 0
        for name, fraction in fractions.items():
            end = first + math.ceil(fraction * len(members))
            for i in members[first:end]:
                splits[i] = name
            first = end
    return splits


def group_splits(groups: Sequence[str], fractions: dict[str, float]) -> list[str]:
    """The split of each image, in order, such that all images of a group are in one.

    The groups are what stratified_splits has as images of one class: they are ordered by the SHA-256 of their names,
    and fractions count groups, however many images these have.
    """
    names = sorted(set(groups))
    split_of = dict(zip(names, stratified_splits(names, [0] * len(names), fractions), strict=True))
    return [split_of[group] for group in groups]
