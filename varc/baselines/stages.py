"""All stages of a rival classifier, one after the other in this process."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from varc.baselines.family import Earlier, Family, Images
from varc.scoring.funnel import Scores, staged


def stage_scores(
    kind: Family,
    model: nn.Module,
    images: Images,
    candidates: NDArray[Any],
    scorings: Sequence[Any],
    keeps: Sequence[int],
) -> list[Scores]:
    """The scores of each stage of N images, of candidates (N, M), each row ascending.

    scorings: what each stage scores with; keeps: how many classes it keeps for the next. As in a job, a stage is told
    what the one before found of its candidates.
    """

    def score(i: int, left: NDArray[Any], before: Scores | None) -> NDArray[np.float64]:
        earlier = Earlier(scorings[i - 1], before.log_likelihood) if before else None
        return kind.score(model, images, left, scorings[i], earlier)

    return staged(score, keeps, candidates, images.image_ids)
