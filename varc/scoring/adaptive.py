"""The adaptive funnel's decisions, without a model: how far an image is scored depends on how clear its case is.

An image is scored step by step: a step is a scale of a VAR, or a chunk of the tokens of an any-order model. After every
step a candidate is dropped when its log-likelihood so far is behind the best by more than that step's threshold. Where
several candidates survive all steps, samples (noisy tokens, or other orders) are added until the sign of the margin is
settled. varc/scoring/stepwise.py computes what is asked for here. Files call the steps `scales`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.errors import InputError
from varc.freshness import check_value
from varc.groups import Groups, in_order, numbered, unit_of
from varc.scoring.funnel import Scores, as_labels, label_ranks, read_per_scale, read_scores
from varc.seal import read_json
from varc.storage import column_matrix, image_ids, provenance, read_parquet

SMALLEST_SHAPE = 0.05
SHAPE_EVERY = {"image": 2, "group": 10}  # which of them give the thresholds' shape: every so many
SETTLED = 2.0  # standard errors that the mean margin must be away from 0


class AdaptiveScores(NamedTuple):
    """What the adaptive funnel computed for N images with M candidates in K steps."""

    steps: NDArray[np.int32]  # (N, M): how many steps each candidate was scored at
    samples: NDArray[np.int32]  # (N, M): how many samples at all steps; 0 for a dropped candidate
    per_step: NDArray[np.float64]  # (N, M, K): of the first sample; NaN beyond `steps`
    log_likelihood: NDArray[np.float64]  # (N, M): survivors: mean over samples; others: the (weighted) sum of per_step


def calibrate(
    per_step: NDArray[np.float64],
    best: NDArray[np.integer],
    right: NDArray[np.bool_],
    alpha: float,
    groups: Groups = None,
) -> NDArray[np.float64]:
    """Thresholds (K,) in nats such that of a new group's right predictions a share of at most alpha is dropped.

    Right predictions are those of the full funnel, and alpha bounds the expectation of the share. An image without a
    group is one of its own: for it that is the chance to be dropped. per_step (N, M, K): log-likelihoods of the first
    sample of calibration images under all classes; best (N,): the class that the full funnel predicts, by its position;
    right (N,): whether it stands for the label; groups (N,). Only images that are right count, and groups that have
    one. Some of the groups give the thresholds' shape, see equal_quantiles; the others the factor that they are
    multiplied by, see risk_factor. So the guarantee holds for groups like these at any n. Infinite where n is too small
    for alpha.

    The shape decides what is gained, not what holds. Of single images it takes half; of groups every tenth: a few have
    images enough, and the factor needs 1 / alpha - 1 groups. In a simulation of 40 to 230 groups of 80 images
    (`benchmarks/adaptive_groups.py`) with a tenth fewer candidates are scored than with a fifth, a third or half, the
    risk is closer to alpha, and the fewest groups are needed.
    """
    groups = numbered(groups)
    unit = unit_of(groups)
    behind = class_behind(per_step, best)[right]  # (n, K)
    number = np.arange(len(behind)) if groups is None else in_order(groups[right])
    of_shape = number % SHAPE_EVERY[unit] == 0
    if of_shape.all():
        return np.full(per_step.shape[2], np.inf)
    shape = equal_quantiles(behind[of_shape], alpha)
    return risk_factor((behind[~of_shape] / shape).max(axis=1), number[~of_shape], alpha) * shape


def risk_factor(ratio: NDArray[np.float64], groups: NDArray[np.integer], alpha: float) -> float:
    """The smallest factor at which the risk of a new group is at most alpha; infinite where there is none.

    ratio (n,): the factor from which on each image is kept; groups (n,). The loss of a group is the share of its images
    with a larger ratio. Conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster 2024) with groups as what
    is exchangeable (the hierarchical setting of Dunn, Wasserman and Ramdas 2022): of G groups,
    G / (G + 1) mean loss + 1 / (G + 1) <= alpha. Of groups of one image it is the split-conformal quantile, the
    ceil((n + 1)(1 - alpha))-th smallest ratio (Vovk et al. 2005).
    """
    _, own, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(ratio, kind="stable")
    share = (1 / sizes)[own][order]
    dropped = np.append(share[::-1].cumsum()[::-1][1:], 0.0)  # summed losses where the factor is that ratio
    enough = len(sizes) - dropped >= (len(sizes) + 1) * (1 - alpha)
    return float(ratio[order][enough.argmax()]) if enough.any() else np.inf


class Units(NamedTuple):
    """What alpha is a promise for ("image" or "group"), how many of them have a right prediction, and how many it takes
    that thresholds are finite."""

    unit: str
    units: int
    units_needed: int


def calibration_units(right: NDArray[np.bool_], alpha: float, groups: Groups = None) -> Units:
    """On how many images or groups calibrate works, and on how many it could keep the promise; arguments as there."""
    groups = numbered(groups)
    unit = unit_of(groups)
    there = right.sum() if groups is None else len(np.unique(groups[right]))
    return Units(unit, int(there), units_needed(alpha, unit))


def units_needed(alpha: float, unit: str) -> int:
    """See Units."""
    factor = max(1, math.floor(1 / alpha) - 2)
    while factor < (factor + 1) * (1 - alpha):
        factor += 1
    every = SHAPE_EVERY[unit]
    return math.ceil(factor * every / (every - 1))


def equal_quantiles(behind: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Thresholds (K,): the same quantile of behind (n, K) at every step, the lowest that drops at most alpha in all.

    None is less than SMALLEST_SHAPE of the largest, so that a step at which labels are hardly ever behind does not
    decide alone.
    """
    for level in 1 - alpha * np.geomspace(1, 0.01, 60):
        shape = np.quantile(behind, level, axis=0)
        shape = np.maximum(shape, max(SMALLEST_SHAPE * shape.max(), 1e-3))
        if (behind > shape).any(axis=1).mean() <= alpha:
            break
    return shape


def class_behind(per_step: NDArray[np.float64], which: NDArray[np.integer]) -> NDArray[np.float64]:
    """How far (N, K) a class of each image is behind the best after each step, in nats; 0 where it is the best."""
    so_far = per_step.cumsum(axis=2)
    own = np.take_along_axis(so_far, which[:, None, None], 1)[:, 0]
    return so_far.max(axis=1) - own


def survivors(so_far: NDArray[np.float64], alive: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """Which candidates (N, M) stay: those alive that are not behind the best alive one by more than the threshold."""
    best = np.where(alive, so_far, -np.inf).max(axis=1, keepdims=True)
    return alive & (so_far >= best - threshold)


def unsettled(samples: NDArray[np.float64], alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Images (N,) whose prediction is open after some samples (n, N, M): two or more candidates are alive, and the mean
    margin of the best two is within SETTLED standard errors of 0. After one sample all such images are open."""
    several = alive.sum(1) > 1
    n = len(samples)
    if n == 1 or not several.any():
        return several
    mean = np.where(alive, samples.mean(0), -np.inf)
    first, second = np.argsort(-mean, axis=1, kind="stable")[:, :2].T
    image = np.arange(samples.shape[1])
    margin = samples[:, image, first] - samples[:, image, second]  # (n, N)
    with np.errstate(invalid="ignore"):
        error = margin.std(axis=0, ddof=1) / math.sqrt(n)
        return several & ~(margin.mean(0) > SETTLED * error)


def simulate(
    per_step: NDArray[np.float64], others: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> AdaptiveScores:
    """What the adaptive funnel computes, from scores of all classes: of the first sample (N, M, K), and of the other
    samples (S - 1, N, M)."""
    so_far = per_step.cumsum(axis=2)
    alive = np.ones(so_far.shape[:2], bool)
    steps = np.zeros(so_far.shape[:2], np.int32)
    for k in range(so_far.shape[2]):
        steps[alive] = k + 1
        alive = survivors(so_far[..., k], alive, thresholds[k])
    return with_samples(per_step, steps, alive, len(others) + 1, lambda i, more, left: others[i - 1][more] * left)


def with_samples(
    per_step: NDArray[np.float64],
    steps: NDArray[np.int32],
    alive: NDArray[np.bool_],
    samples: int,
    score: Callable[[int, NDArray[np.intp], NDArray[np.bool_]], NDArray[np.float64]],
    weights: NDArray[np.float64] | float = 1.0,
) -> AdaptiveScores:
    """The result of a first sample, per_step (N, M, K) at `steps` (N, M), whose survivors (N, M) get more samples, up
    to so many in all, while the prediction is open.

    score(i, more, left): log-likelihoods (n, M) in sample i, from 1, of the images at the positions `more` (n,) under
    those of their candidates that are `left` (n, M); 0 for the others. weights (K,): of the steps, in log_likelihood.
    """
    scores = (per_step * weights).sum(axis=2)[None]
    used = alive.astype(np.int32)
    total = np.where(alive, scores[0], 0.0)
    for i in range(1, samples):
        more = (unsettled(scores, alive) & (used.max(1) == i)).nonzero()[0]
        if len(more) == 0:
            break
        own = np.zeros_like(total)
        own[more] = score(i, more, alive[more])
        scores = np.concatenate([scores, own[None]])
        total += own
        used[more] += alive[more]
    reached = np.arange(per_step.shape[2]) < steps[..., None]
    per_step = np.where(reached, per_step, np.nan)
    mean = np.where(used > 0, total / np.maximum(used, 1), np.nansum(per_step * weights, axis=2))
    return AdaptiveScores(steps, used, per_step, mean)


def final_order(result: AdaptiveScores) -> NDArray[np.intp]:
    """The candidates (N, M) best first: survivors by score, then the dropped ones, the later dropped the better."""
    return np.lexsort((-result.log_likelihood, -result.steps, result.samples == 0), axis=1)


def stacked(
    samples: list[list[Scores]],
    paths: Sequence[str | Path],
    weights: NDArray[np.float64] | None = None,
    scales: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.integer]]:
    """per_scale of the first sample (N, M, K), log-likelihoods of all samples (S, N, M), and the class_ids (M,); from
    what scores_of_samples has read of `paths` with the same weights and scales."""
    log_likelihood = [np.concatenate([shard.log_likelihood for shard in sample]) for sample in samples]
    per_scale = np.concatenate([read_per_scale(path)[..., :scales] for path in paths[: len(samples[0])]])
    if weights is not None:
        per_scale = per_scale * weights
    return per_scale, np.stack(log_likelihood), samples[0][0].class_ids[0]


def scores_of_samples(
    paths: Sequence[str | Path],
    images: int,
    weights: NDArray[np.float64] | None = None,
    scales: int | None = None,
) -> list[list[Scores]]:
    """Of each sample the scores of its shards. paths: of each sample, the first one first, all shards; images: N;
    weights (K,): of the scales; scales: K, None for all that the files have.

    Raises InputError for another number of images.
    """
    scores = [read_scores(path, scales, weights) for path in paths]
    so_far = list(accumulate(len(part.image_ids) for part in scores))
    if images not in so_far or len(paths) % (shards := so_far.index(images) + 1):
        raise InputError(f"{paths[0]} and its shards hold other than {images} images; delete them and run again")
    return [scores[i : i + shards] for i in range(0, len(paths), shards)]


def read_adaptive(*paths: str | Path) -> tuple[AdaptiveScores, NDArray[np.integer], NDArray[np.object_]]:
    """The scores of an adaptive funnel, of all shards given, the class_ids (M,), and the image_ids (N,)."""
    parts: list[list[NDArray[Any]]] = []
    for path in paths:
        table = read_parquet(path)
        images = provenance(path)["images"]
        names = ("scales", "samples", "log_likelihood", "class_id")
        steps, samples, log_likelihood, class_ids = (table[name].to_numpy().reshape(images, -1) for name in names)
        per_step = column_matrix(table, "per_scale").reshape(*steps.shape, -1)
        ids = image_ids(table).reshape(images, -1)[:, 0]
        parts.append([steps, samples, per_step, log_likelihood, class_ids, ids])
    whole = [np.concatenate([part[i] for part in parts]) for i in range(6)]
    return AdaptiveScores(*whole[:4]), whole[4][0], whole[5]


def finite_or_none(number: float) -> float | None:
    """A number as JSON has it: null for infinity."""
    return None if np.isinf(number) else float(number)


def as_json(thresholds: NDArray[np.float64]) -> list[float | None]:
    """Thresholds as JSON has them."""
    return [finite_or_none(threshold) for threshold in thresholds]


def read_thresholds(path: str | Path, made_with: Mapping[str, str], other: str | Path) -> NDArray[np.float64]:
    """The thresholds (K,) that calibrate found, from the file of the rule `calibrate`; infinite where it found none.

    made_with: SHA-256 of the model that they are used with, a VAR or a rival; other: its file. Raises InputError where
    they are another's.
    """
    found = read_json(path)
    key = "var_sha256" if "var_sha256" in made_with else "weights_sha256"
    check_value(path, key, found, made_with[key], other)
    return np.array([np.inf if threshold is None else threshold for threshold in found["thresholds"]])


def predict_open(
    result: AdaptiveScores,
    class_ids: NDArray[np.integer],
    image_ids: NDArray[np.object_],
    labels: NDArray[np.integer],
    label_of: dict[int, int],
    before: Sequence[Scores] = (),
) -> dict[str, Any]:
    """The best survivor of each image, as columns of `predictions`; see varc.scoring.funnel.predict.

    margin: to the best other survivor; null, like runner_up, where there is none. before: the stages before this one.
    """
    order = final_order(result)
    ranked = np.take_along_axis(result.log_likelihood, order, 1)
    alone = (result.samples > 0).sum(1) == 1
    best = class_ids[order]
    hit = (as_labels(best, label_of) == labels[:, None]) & np.take_along_axis(result.samples > 0, order, 1)
    second = min(1, order.shape[1] - 1)
    return {
        "image_id": image_ids,
        "label": labels,
        "prediction": best[:, 0],
        "score": ranked[:, 0],
        "runner_up": [None if a else int(c) for a, c in zip(alone, best[:, second], strict=True)],
        "margin": [None if a else m for a, m in zip(alone, ranked[:, 0] - ranked[:, second], strict=True)],
        **{f"rank_stage{i}": label_ranks(stage, labels, label_of) for i, stage in enumerate(before, 1)},
        f"rank_stage{len(before) + 1}": [int(row.argmax()) + 1 if row.any() else None for row in hit],
    }
