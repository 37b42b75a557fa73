"""Which faces are what they say, which are the same, which hang together, and which split they go to."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from varc.data.glyphs.fonts import family_key

SAME_FACE, SAME_GROUP, SAME_CHARACTER = 0.99, 0.94, 0.99  # correlations of pictures
TYPICAL, CONTAINED = 0.15, 0.75  # see untypical
ACCENTED = {"Ä": "A", "Å": "A", "Ç": "C", "É": "E", "Ê": "E", "Ñ": "N", "Ö": "O", "Ü": "U"}
GENERIC = {"latin", "new", "old", "open", "source", "tex", "the"}  # first words that unrelated families share
LARGE_GROUP = 8  # faces: a larger one goes to train
FRACTIONS = {"test": 0.26, "calibration": 0.64, "validation": 0.1}  # of the groups that may be held out
HELD_OUT = 2  # faces of a group, at most, that a split other than train has

Pictures = NDArray[np.uint8]  # (N, C, side, side): faces, characters


def unit_vectors(pictures: Pictures) -> NDArray[np.float32]:
    """The pictures at half size (N, C, D), each with mean 0 and length 1; 0 where there is none."""
    n, c, side, _ = pictures.shape
    small = pictures.reshape(n, c, side // 2, 2, side // 2, 2).mean((3, 5), dtype=np.float32).reshape(n, c, -1)
    small -= small.mean(2, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=2, keepdims=True), 1e-6)


def untypical(pictures: Pictures, vectors: NDArray[np.float32], characters: str) -> list[str | None]:
    """Why a face shows other characters than it says, or None.

    Symbols: hardly any of its characters is nearest to the median of that character over all faces. Other alphabets in
    the places of Latin-1: its accented capitals do not hold their base letters.
    """
    there = pictures.max((2, 3)) > 0
    median = np.median(vectors, axis=0)
    median /= np.maximum(np.linalg.norm(median, axis=1, keepdims=True), 1e-6)
    nearest = np.einsum("ncd,ld->ncl", vectors, median).argmax(2) == np.arange(len(characters))
    typical = (nearest & there).sum(1) / np.maximum(there.sum(1), 1)
    pairs = [(characters.index(a), characters.index(b)) for a, b in ACCENTED.items() if {a, b} <= set(characters)]
    reasons: list[str | None] = []
    for face, own in enumerate(pictures.astype(np.float32)):
        shares = [contained(own[b], own[a]) for a, b in pairs if there[face, a] and there[face, b]]
        if typical[face] < TYPICAL:
            reasons.append("shows symbols")
        elif shares and np.mean(shares) < CONTAINED:
            reasons.append("has other letters in the places of accented capitals")
        else:
            reasons.append(None)
    return reasons


def contained(letter: NDArray[np.float32], accented: NDArray[np.float32]) -> float:
    """The share of a letter's ink that an accented one covers, where it does so best: accents push letters down."""
    shifts = [(dy, dx) for dy in range(-1, 5) for dx in (-1, 0, 1)]
    return max(float(np.minimum(np.roll(letter, shift, (0, 1)), accented).sum()) for shift in shifts) / letter.sum()


def has_twins(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which faces (N,) draw two characters alike, as those without lower case do."""
    alike = np.einsum("ncd,nld->ncl", vectors, vectors)
    alike[:, np.arange(alike.shape[1]), np.arange(alike.shape[1])] = 0
    return (alike > SAME_CHARACTER).any((1, 2))


def correlations(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean correlation (N, N) of the characters that two faces both have."""
    there = (np.abs(vectors).max(2) > 0).astype(np.float32)
    flat = vectors.reshape(len(vectors), -1)
    return flat @ flat.T / np.maximum(there @ there.T, 1)


def distinct(alike: NDArray[np.float32], first: Sequence[int]) -> list[int]:
    """Of faces that look the same the first in an order, as positions in that order. alike: see correlations."""
    kept: list[int] = []
    for face in first:
        if not (alike[face, kept] > SAME_FACE).any():
            kept.append(face)
    return kept


def grouped(families: Sequence[str], alike: NDArray[np.float32]) -> list[str]:
    """The group of each face: faces whose families begin with the same word, or that look nearly the same, hang
    together, and so does what hangs together with one of them. A group has the name of its first family."""
    keys = [common_word(family) for family in families]
    joined = (alike > SAME_GROUP) | (np.array(keys)[:, None] == np.array(keys)[None])
    _, number = connected_components(joined, directed=False)
    names: dict[int, str] = {}
    for i, family in sorted(zip(number.tolist(), families, strict=True)):
        names.setdefault(i, family)
    return [names[i] for i in number.tolist()]


def common_word(family: str) -> str:
    """The first word of a family's name, or two where it alone says too little."""
    words = family_key(family).split() or [family]
    return " ".join(words[:2]) if words[0] in GENERIC or len(words[0]) < 3 else words[0]


def split_groups(groups: Sequence[str], complete: Sequence[bool]) -> dict[str, str]:
    """The split of each group. Held out are groups of few faces with a complete one, in the order of their SHA-256."""
    members = defaultdict(list)
    for group, whole in zip(groups, complete, strict=True):
        members[group].append(whole)
    fit = [group for group, wholes in members.items() if any(wholes) and len(wholes) <= LARGE_GROUP]
    fit.sort(key=lambda group: hashlib.sha256(group.encode()).digest())
    splits, first = dict.fromkeys(members, "train"), 0
    for split, fraction in FRACTIONS.items():
        end = first + round(fraction * len(fit))
        splits |= dict.fromkeys(fit[first:end], split)
        first = end
    return splits
