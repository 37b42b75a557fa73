"""A certified stage's decisions: all classes in a lower precision, and in float32 those that may be its prediction.

Both precisions rank almost alike. How far behind the best in the lower one the class that float32 predicts can be,
delta, is measured on calibration images, with a chance that is promised (conformal prediction).
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from varc.freshness import check_value
from varc.groups import Groups, numbered, unit_of
from varc.scoring.adaptive import AdaptiveScores, Units, risk_factor
from varc.seal import read_json

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def certified_delta(quick: Floats, exact: Floats, alpha: float, groups: Groups = None) -> float:
    """The least delta, in nats, such that of a new group's images a share of at most alpha have their float32
    prediction further behind the best; infinite where there are too few images or groups for alpha.

    quick, exact: log-likelihoods (N, M) of calibration images in the lower precision and in float32. groups (N,): an
    image without one is its own, and alpha is then its chance. See varc.scoring.adaptive.risk_factor.
    """
    groups = numbered(groups)
    behind = quick.max(1) - np.take_along_axis(quick, exact.argmax(1)[:, None], 1)[:, 0]
    return risk_factor(behind, np.arange(len(behind)) if groups is None else groups, alpha)


def certified_units(images: int, alpha: float, groups: Groups = None) -> Units:
    """On how many images or groups certified_delta works, and on how many delta is finite."""
    groups = numbered(groups)
    return Units(unit_of(groups), images if groups is None else len(np.unique(groups)), math.ceil(1 / alpha - 1 - 1e-9))


def read_delta(path: str | Path, made_with: Mapping[str, str], other: str | Path) -> float:
    """What certified_delta found, from the file of the rule `certify`. made_with, other: see read_thresholds."""
    found = read_json(path)
    check_value(path, "var_sha256", found, made_with["var_sha256"], other)
    return np.inf if found["delta"] is None else float(found["delta"])


def contenders(quick: Floats, delta: float) -> Bools:
    """Which candidates (N, M) may be the float32 prediction, by their log-likelihoods in the lower precision (N, M)."""
    return quick >= quick.max(1, keepdims=True) - delta


def open_contenders(quick: Floats, delta: float) -> Bools:
    """Those (N, M) that float32 decides among: the contenders of images that have several."""
    found = contenders(quick, delta)
    return found & (found.sum(1, keepdims=True) > 1)


def certified_scores(
    quick: Floats, delta: float, exact: Callable[[Bools], Floats], weights: Floats | None = None
) -> AdaptiveScores:
    """The scores of a certified stage.

    quick (N, M, K): of all candidates, in the lower precision. exact: gives the float32 ones (N, M, K) of the
    candidates that it is told (N, M). weights (K,): of the scales. A contender has one sample, the others none; an only
    contender, and what is no contender, keep the scores of the lower precision.
    """
    weights = np.ones(quick.shape[2]) if weights is None else weights
    weighted = (quick * weights).sum(2)
    asked = open_contenders(weighted, delta)
    per_scale = np.where(asked[..., None], exact(asked), quick)
    scales = np.full(weighted.shape, quick.shape[2], np.int32)
    samples = contenders(weighted, delta).astype(np.int32)
    return AdaptiveScores(scales, samples, per_scale, (per_scale * weights).sum(2))
