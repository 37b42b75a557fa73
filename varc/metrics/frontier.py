"""Accuracy against cost, of adaptive and of fixed funnels, from scores of all classes."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from varc.costs.counting import ModelCosts
from varc.groups import Groups, unit_of
from varc.metrics.accuracy import exact_interval
from varc.metrics.intervals import by_group, mean_share_interval, share_interval
from varc.metrics.paired import paired_difference
from varc.scoring.adaptive import AdaptiveScores, final_order
from varc.scoring.labelled import is_right

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


def adaptive_gflops(result: AdaptiveScores, costs: ModelCosts) -> Floats:
    """GFLOPs (N,) that each image took for scoring, encoder apart.

    A candidate dropped after k scales costs a pass of k scales, as the plain forward of those scales would; each
    further sample of a survivor costs a full pass.
    """
    last = result.per_step.shape[2]
    per_pass = np.array([0.0, *(costs.passes[k].gflops for k in range(1, last + 1))])
    extra = np.maximum(result.samples - 1, 0) * per_pass[last]
    return (per_pass[result.steps] + extra).sum(axis=1)


def adaptive_row(
    result: AdaptiveScores,
    own: Bools,
    full_best: Ints,
    fixed_right: Bools,
    costs: ModelCosts,
    groups: Groups = None,
) -> dict[str, Any]:
    """Figures of one adaptive funnel; see tables/adaptive.csv.

    own (N, M): which classes stand for the label. full_best (N,): the class that the full funnel predicts, by its
    position. Of the risk_images where that is right: observed_risk, the share for which it was dropped, which is what
    alpha bounds; observed_early_loss, the share for which it was kept and the prediction is wrong all the same, since
    smoothing stopped early; observed_loss, the share for which the prediction is wrong, by the one or the other. Exact
    intervals; NaN where there are no such images. group_risk: the mean over the `groups` that have such images of the
    share that was dropped; NaN without groups (N,). Intervals are over groups where there are any (`unit`).
    """
    n = len(own)
    right = is_right(final_order(result)[:, 0], own)
    full_right = is_right(full_best, own)
    low, high = share_interval(right, groups)
    of_risk = None if groups is None else groups[full_right]
    kept = np.take_along_axis(result.samples, full_best[:, None], 1)[:, 0] > 0
    gflops = adaptive_gflops(result, costs)
    return {
        "images": n,
        "top1": right.mean(),
        "top1_low": low,
        "top1_high": high,
        "unit": unit_of(groups),
        **observed("observed_risk", ~kept[full_right], of_risk),
        "risk_images": int(full_right.sum()),
        **group_risk(~kept[full_right], of_risk),
        **observed("observed_early_loss", (kept & ~right)[full_right], of_risk),
        **observed("observed_loss", ~right[full_right], of_risk),
        "scoring_gflops": gflops.mean(),
        "scoring_gflops_median": np.median(gflops),
        "scoring_gflops_p95": np.quantile(gflops, 0.95),
        "encoder_gflops": costs.encoder.gflops,
        **{f"vs_fixed_{k}": v for k, v in paired_difference(right, fixed_right, groups)._asdict().items()},
    }


def observed(name: str, happened: Bools, groups: Groups) -> dict[str, float]:
    """The share of images (N,) for which something happened, with its exact interval; NaN for no images."""
    n = len(happened)
    low, high = share_interval(happened, groups, exact_interval) if n else (np.nan, np.nan)
    return {name: int(happened.sum()) / n if n else np.nan, f"{name}_low": low, f"{name}_high": high}


def group_risk(dropped: Bools, groups: Groups) -> dict[str, float]:
    """The mean over groups of the share of images (N,) that was dropped, its interval, and how many groups there are;
    NaN without groups."""
    names = ("group_risk", "group_risk_low", "group_risk_high", "groups")
    if groups is None or len(groups) == 0:
        return dict.fromkeys(names, np.nan)
    sums, sizes = by_group(dropped, groups)
    losses = sums / sizes
    ends = mean_share_interval(losses, np.ones(len(losses)), len(groups))
    return dict(zip(names, (float(losses.mean()), *ends, len(losses)), strict=True))


def fixed_frontier(per_scale: Floats, own: Bools, costs: ModelCosts) -> pd.DataFrame:
    """Top-1 and scoring GFLOPs of every funnel of two clean stages: all classes at some scales, the best k at all."""
    classes, num_scales = per_scale.shape[1:]
    so_far = per_scale.cumsum(axis=2)
    rows = []
    for scales in range(1, num_scales):
        order = np.argsort(-so_far[..., scales - 1], axis=1, kind="stable")
        final = np.take_along_axis(so_far[..., -1], order, 1)
        for k in range(1, classes + 1):
            best = np.take_along_axis(order, final[:, :k].argmax(1)[:, None], 1)[:, 0]
            gflops = classes * costs.passes[scales].gflops + k * costs.passes[num_scales].gflops * (k > 1)
            rows.append({"scales": scales, "k": k, "top1": is_right(best, own).mean(), "gflops": gflops})
    return pd.DataFrame(rows)
