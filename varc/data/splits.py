"""Fixed, stratified, disjoint splits."""

import hashlib
import math
from collections.abc import Sequence

SPLITS = ("train", "validation", "calibration", "test")


def stratified_splits(keys: Sequence[str], labels: Sequence[int], fractions: dict[str, float]) -> list[str]:
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
