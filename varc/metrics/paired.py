"""Paired comparison of two classifiers on the same images."""

from collections.abc import Mapping
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta, binomtest

from varc.errors import InputError
from varc.groups import Groups, unit_of
from varc.metrics.intervals import flipped_interval, part_means, wider

TAIL = 0.025  # on either side of an interval
NODES, WEIGHTS = np.polynomial.legendre.leggauss(100)
LEVELS, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2  # for integrals over [0, 1]


class Difference(NamedTuple):
    """Accuracy of one minus accuracy of the other, its 95 % interval, and McNemar's exact p.

    gained: the images that the one alone has right; lost: those that the other alone has.
    """

    difference: float
    low: float
    high: float
    p: float
    gained: int
    lost: int


def paired_difference(right: NDArray[np.bool_], other: NDArray[np.bool_], groups: Groups = None) -> Difference:
    """right, other (N,): whether each classifier is right; groups (N,) of the images, if there are any.

    With groups the interval is that of flipped_interval, within [-1, 1], and p its sign-flip test's; but neither says
    more than the ones of independent images would, which hold where few groups differ.
    """
    found = difference_of_counts(int((right & ~other).sum()), int((other & ~right).sum()), len(right))
    if groups is None:
        return found
    low, high, p = flipped_interval(found.difference, part_means(right.astype(float) - other, groups))
    low, high = wider((found.low, found.high), (max(low, -1.0), min(high, 1.0)))
    return found._replace(low=low, high=high, p=max(found.p, p))


def difference_of_counts(gained: int, lost: int, n: int) -> Difference:
    """The same from counts of n images, gained and lost as in Difference.

    McNemar's exact test: among the images where just one is right, each should be as often (McNemar 1947). The interval
    is that of Fay and Lumbard (2021, doi 10.1002/sim.8829), which goes with it: it leaves out 0 where p is below 0.05,
    and holds at any number of images that differ, none included.
    """
    differ = gained + lost
    p = float(binomtest(gained, differ).pvalue) if differ else 1.0
    low, high = lowest(gained, lost, n), -lowest(lost, gained, n)
    return Difference((gained - lost) / n, low, high, p, gained, lost)


def same_images(rights: Mapping[str, pd.Series | pd.DataFrame]) -> int:
    """How many images classifiers have answers for, by image_id. Raises InputError where these are not the same."""
    first = next(iter(rights.values())).index
    for name, right in rights.items():
        if not right.index.equals(first):
            raise InputError(f"{name}: its images are not those of the other classifiers; delete its predictions")
    return len(first)


def every_pair(rights: dict[str, pd.Series], groups: Groups = None) -> list[dict[str, Any]]:
    """Rows of tables/main_paired.csv for one data set: top-1 of each classifier minus that of each one before it.

    rights: classifier -> whether it is right, by image_id; groups (N,) of the images, in their order. Raises InputError
    where their images differ.
    """
    images = same_images(rights)
    return [
        {"classifier": classifier, "against": against, "images": images, "unit": unit_of(groups)}
        | paired_difference(rights[classifier].to_numpy(), rights[against].to_numpy(), groups)._asdict()
        for against, classifier in combinations(rights, 2)
    ]


@cache
def lowest(gained: int, lost: int, n: int) -> float:
    """The lower end of the interval of a difference.

    The difference is s (2 g - 1): s the share of images that differ, g the share of gains among these. The exact
    one-sided limits of both, at all levels, are Beta distributions; they are put together as if drawn independently,
    the upper one of s where the difference is below 0 and the lower one above, and the end is the TAIL quantile.
    """
    differ = gained + lost
    if gained == 0:
        return -float(beta.ppf(1 - TAIL, differ + 1, n - differ)) if differ < n else -1.0

    def below(difference: float) -> float:
        """The chance of a smaller difference, less TAIL."""
        if difference >= 0:
            share = beta.ppf(LEVELS, differ, n - differ + 1)
        else:
            share = beta.ppf(LEVELS, differ + 1, n - differ) if differ < n else np.ones(len(LEVELS))
        return float(WEIGHTS @ beta.cdf(0.5 + difference / (2 * share), gained, lost + 1)) - TAIL

    return float(brentq(below, -1.0, 1.0, xtol=1e-9))
