"""Accuracy against cost, of adaptive and of fixed funnels, from scores of all classes."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from varc.costs.models import ModelCosts
from varc.metrics.accuracy import wilson_interval
from varc.metrics.paired import paired_difference
from varc.scoring.adaptive import AdaptiveScores, final_order

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def adaptive_gflops(result: AdaptiveScores, costs: ModelCosts) -> Floats:
    """GFLOPs (N,) that each image took for scoring, encoder apart.

    A candidate dropped after k scales costs a pass of k scales, as the plain forward of those scales would; each
    further sample of a survivor costs a full pass.
    """
    last = result.per_scale.shape[2]
    per_pass = np.array([0.0, *(costs.passes[k].gflops for k in range(1, last + 1))])
    extra = np.maximum(result.samples - 1, 0) * per_pass[last]
    return (per_pass[result.scales] + extra).sum(axis=1)


def adaptive_row(
    result: AdaptiveScores,
    label_index: Ints,
    full_right: NDArray[np.bool_],
    fixed_right: NDArray[np.bool_],
    costs: ModelCosts,
) -> dict[str, Any]:
    """Figures of one adaptive funnel; see tables/adaptive.csv.

    observed_risk: among the images whose label the full funnel predicts, the share whose label was dropped.
    """
    n = len(label_index)
    best = final_order(result)[:, 0]
    right = best == label_index
    low, high = wilson_interval(int(right.sum()), n)
    kept = np.take_along_axis(result.samples, label_index[:, None], 1)[:, 0] > 0
    gflops = adaptive_gflops(result, costs)
    return {
        "images": n,
        "top1": right.mean(),
        "top1_low": low,
        "top1_high": high,
        "observed_risk": (~kept)[full_right].mean(),
        "risk_images": int(full_right.sum()),
        "scoring_gflops": gflops.mean(),
        "scoring_gflops_median": np.median(gflops),
        "scoring_gflops_p95": np.quantile(gflops, 0.95),
        "encoder_gflops": costs.encoder.gflops,
        **{f"vs_fixed_{k}": v for k, v in paired_difference(right, fixed_right)._asdict().items()},
    }


def fixed_frontier(per_scale: Floats, label_index: Ints, costs: ModelCosts) -> pd.DataFrame:
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
            rows.append({"scales": scales, "k": k, "top1": (best == label_index).mean(), "gflops": gflops})
    return pd.DataFrame(rows)
