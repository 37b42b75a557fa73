"""Accuracy and pruning recall, from predictions and scores, without a model; intervals of shares of images."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import beta

Z95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal distribution


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927)."""
    p = hits / n
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))  # rounding passes p and the ends


def exact_interval(hits: int, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a proportion (Clopper and Pearson 1934); all of [0, 1] for n = 0."""
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def final_rank(stage_ranks: Sequence[Sequence[int | None]]) -> list[int | None]:
    """The label's rank in the whole funnel, per image: the one in the last stage that still had the label.

    stage_ranks: per stage, the rank of each image's label. A candidate that a stage prunes ranks behind all that it
    keeps, so this is a rank among all candidates, and top-k for any k follows from it.
    """
    last: list[int | None] = [None] * len(stage_ranks[0])
    for stage in stage_ranks:
        last = [now if now is not None else before for before, now in zip(last, stage, strict=True)]
    return last


def right_predictions(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each of the predictions is right: where the label has rank 1 in the last stage, also where it is one of
    several class_ids that stand for the label."""
    last = [name for name in predictions.columns if name.startswith("rank_stage")][-1]
    return (predictions[last] == 1).fillna(False).to_numpy(bool)


def among(rank: Sequence[int | None], k: int) -> NDArray[np.bool_]:
    """Whether the label of each image is among the best k (N,)."""
    return np.array([r is not None and r <= k for r in rank], bool)


def pruning_recall(rank: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Recall (classes,) of the label among the best 1, 2, ..., classes, from its rank (N,) in each image."""
    return np.cumsum(np.bincount(rank, minlength=classes + 1)[1:]) / len(rank)
