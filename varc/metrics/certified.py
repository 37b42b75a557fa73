"""What a certified stage promised, what came of it, and what it cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varc.groups import Groups
from varc.metrics.frontier import group_risk, observed
from varc.scoring.adaptive import AdaptiveScores, final_order
from varc.storage import prefix_seconds, total_seconds


def certified_row(
    quick: NDArray[np.float64],
    result: AdaptiveScores,
    exact: NDArray[np.float64] | None,
    groups: Groups,
) -> dict[str, Any]:
    """Figures of a certified stage; see tables/certified.csv.

    quick, exact: log-likelihoods (N, M) of all classes in the lower precision and in float32, if these are known.
    """
    kept = result.samples > 0
    several = kept.sum(1) > 1
    row = {
        "images": len(kept),
        "classes": kept.shape[1],
        "contenders": kept.sum(1).mean(),
        "settled": 1 - several.mean(),
        "passes_float32": kept[several].sum() / len(kept),
    }
    if exact is None:
        return row
    best = exact.argmax(1)
    lost = ~np.take_along_axis(kept, best[:, None], 1)[:, 0]
    return row | {
        "changed_by_precision": int((quick.argmax(1) != best).sum()),
        "changed": int((final_order(result)[:, 0] != best).sum()),
        **observed("observed_risk", lost, groups),
        **group_risk(lost, groups),
    }


def certified_seconds(
    quick: Sequence[str | Path],
    certified: Sequence[str | Path],
    exact: Sequence[str | Path],
    scales: int,
    patch_nums: Sequence[int],
) -> dict[str, float]:
    """The device's seconds of both parts of a stage, and how many times those of float32 alone are, where known; of
    files of float32 that have more scales, the share of the first ones."""
    seconds = total_seconds([*quick, *certified])
    if not exact:
        return {"seconds": seconds}
    alone = prefix_seconds(exact, scales, patch_nums)
    return {"seconds": seconds, "seconds_float32": alone, "times_faster": alone / seconds}
