"""Intervals and tests over images, or over the groups that images come in: the one place that decides which.

Images of one group hang together, so that intervals over images are too narrow where there are groups. What stands here
is chosen by its coverage (`benchmarks/coverage.py`); bootstraps over groups cover less.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, t

from varc.groups import Groups
from varc.metrics.accuracy import wilson_interval

PARTS = 10_000  # random parts of the groups
PARTS_AT_ONCE = 500
TAIL = 0.025  # on either side of an interval
Floats = NDArray[np.float64]


class Flipped(NamedTuple):
    """A 95 % interval over groups, infinite where there are too few of them, and p of the value's being 0."""

    low: float
    high: float
    p: float


def share_interval(
    happened: NDArray[np.bool_],
    groups: Groups = None,
    over_images: Callable[[int, int], tuple[float, float]] = wilson_interval,
) -> tuple[float, float]:
    """The 95 % interval of the share of images (N,) for which something happened; all of [0, 1] for one group.

    Without groups that of `over_images`, from hits and n. Over groups that of a ratio of sums over groups, see
    mean_share_interval.
    """
    if groups is None:
        return over_images(int(happened.sum()), len(happened))
    return mean_share_interval(*by_group(happened, groups), len(happened))


def mean_share_interval(hits: Floats, sizes: Floats, images: int) -> tuple[float, float]:
    """The 95 % interval of sum(hits) / sum(sizes), where groups (G,) are drawn, hits of sizes in each.

    The exact interval of a share of fewer images, as many as would have the variance that there is between the groups
    (Korn and Graubard 1998): never of more than there are, and with Student's t for the groups.
    """
    count, share = len(hits), hits.sum() / sizes.sum()
    if count < 2:
        return 0.0, 1.0
    variance = count / (count - 1) * ((hits - share * sizes) ** 2).sum() / sizes.sum() ** 2
    n = min(images, share * (1 - share) / variance) if variance > 0 else images
    n *= (t.ppf(1 - TAIL, images - 1) / t.ppf(1 - TAIL, count - 1)) ** 2 if images > 1 else 1.0
    low = float(beta.ppf(TAIL, share * n, (1 - share) * n + 1)) if share > 0 else 0.0
    high = float(beta.ppf(1 - TAIL, share * n + 1, (1 - share) * n)) if share < 1 else 1.0
    return min(low, share), max(high, share)


def flipped_interval(value: float, of_parts: Floats) -> Flipped:
    """The interval of a value, and p, from the same value of random parts of the groups (P,), see part_means.

    It is the sign-flip test's: groups deviate from the truth as often to either side. A truth is refused where at most
    TAIL of all ways to flip groups leave the value of the flipped ones beyond it, so the ends are quantiles over parts
    (Hartigan 1969). A part of which the value is not defined, as the empty one, lies on either side of any truth. The
    interval leaves out 0 where p is at most 0.05, which takes six groups.
    """
    known = np.sort(of_parts[np.isfinite(of_parts)])
    absent = len(of_parts) - len(known)
    first = math.floor(TAIL * len(of_parts)) - absent
    low, high = (known[first], known[-1 - first]) if first >= 0 else (-np.inf, np.inf)
    beyond = np.count_nonzero(known * np.sign(value) <= 0) + absent
    return Flipped(float(low), float(high), min(1.0, 2 * beyond / len(of_parts)))


def part_means(values: Any, groups: NDArray[np.integer[Any]]) -> Floats:
    """Means (P,) or (P, C) of values (N,) or (N, C) over the images of random parts of the groups; NaN for empty ones.

    Each group is in a part with a chance of a half: up to 13 groups all parts, else PARTS of them, seeded, and the
    empty one.
    """
    sums, sizes = by_group(values, groups)
    with np.errstate(invalid="ignore"):
        return np.concatenate([((part @ sums).T / (part @ sizes)).T for part in parts_of(len(sizes))])


def parts_of(count: int) -> Iterator[Floats]:
    """Parts of so many groups, as 0 and 1 (P, count), in pieces; see part_means."""
    if 2**count <= PARTS:
        yield (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(float)
        return
    rng = np.random.default_rng(0)
    yield np.zeros((1, count))
    for first in range(0, PARTS, PARTS_AT_ONCE):
        bits = rng.integers(256, size=(min(PARTS_AT_ONCE, PARTS - first), (count + 7) // 8), dtype=np.uint8)
        yield np.unpackbits(bits, axis=1, count=count).astype(float)


def by_group(values: Any, groups: NDArray[np.integer[Any]]) -> tuple[Floats, Floats]:
    """Sums (G,) or (G, C) of values (N,) or (N, C) over the images of each group that has any, and their numbers."""
    sizes: Any = np.bincount(groups)
    there = sizes > 0
    columns = np.asarray(values, float).reshape(len(groups), -1).T
    sums = np.stack([np.bincount(groups, column)[there] for column in columns], axis=1)
    return sums.reshape(-1, *np.shape(values)[1:]), sizes[there].astype(float)


def wider(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """From the lower of the low ends of two intervals to the higher of the high ends."""
    return min(one[0], other[0]), max(one[1], other[1])
