"""Paired comparison of two classifiers on the same images."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

RESAMPLES = 2000


class Difference(NamedTuple):
    """Accuracy of one minus accuracy of the other, its bootstrap interval, and McNemar's exact p."""

    difference: float
    low: float
    high: float
    p: float


def paired_difference(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> Difference:
    """right, other (N,): whether each classifier is right. The 95 % interval resamples images (seeded).

    McNemar's exact test: among the images where just one is right, each should be as often (McNemar 1947).
    """
    gain = right.astype(int) - other.astype(int)
    rng = np.random.default_rng(0)
    # the bootstrap mean depends on the counts of +1 and -1 alone
    n, up, down = len(gain), int((gain == 1).sum()), int((gain == -1).sum())
    drawn = rng.multinomial(n, [up / n, down / n, (n - up - down) / n], size=RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [0.025, 0.975])
    p = binomtest(up, up + down).pvalue if up + down else 1.0
    return Difference(float(gain.mean()), float(low), float(high), float(p))
