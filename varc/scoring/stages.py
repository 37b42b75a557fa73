"""What a stage of a VAR's classifier computes, and all stages of a funnel one after the other in this process."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.keep import Keep, at_once
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, tokens_at
from varc.scoring.funnel import Scores, over_samples, over_scales, staged
from varc.scoring.guidance import score_guided
from varc.scoring.likelihood import score
from varc.scoring.spelling import FixedStage

Floats = NDArray[np.float64]


def score_stage(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[Any],
    *,
    scales: int,
    guidance: float | None,
    device: torch.device,
    batch_size: int | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
    keep: Keep = at_once,
    state: dict[str, Tensor] | None = None,
) -> Floats:
    """Log-likelihoods per scale (N, M, scales), in nats, of one sample's tokens (N, L) under candidates (N, M).

    guidance: see varc.scoring.guidance.score_guided, which takes `state`, and no batch_size; else see
    varc.scoring.likelihood.score.
    """
    first = tokens[:, : tokens_at(var.config.patch_nums, scales)]
    if guidance:
        return score_guided(
            var, quantizer, first, candidates, guidance, device=device, report=report, keep=keep, state=state
        )
    return score(
        var,
        quantizer,
        first,
        candidates,
        device=device,
        batch_size=batch_size,
        report=report,
        keep=keep,
    )


def funnel_scores(
    models: Mapping[str, VAR],
    quantizer: MultiScaleQuantizer,
    sample: Callable[[int], NDArray[np.uint16]],
    candidates: NDArray[Any],
    image_ids: NDArray[np.object_],
    stages: Sequence[FixedStage],
    weights: Sequence[Floats | None],
    *,
    device: torch.device,
) -> list[Scores]:
    """The scores of each stage of N images: means over its samples of the (weighted) sums over its scales.

    models: the VAR in each precision of a stage. sample(i): tokens (N, L) of sample i, 0 the clean one. candidates:
    (N, M), each row ascending, of the first stage. weights: of each stage's scales, None where they count alike. As in
    jobs, a smoothed stage takes the clean scores of an earlier one at the same scales.
    """
    clean: dict[Any, Scores] = {}

    def score_left(i: int, left: NDArray[Any], before: Scores | None) -> Floats:
        stage = stages[i]
        model = models[stage.precision]

        def of_sample(number: int) -> Scores:
            per_scale = score_stage(
                model, quantizer, sample(number), left, scales=stage.scales, guidance=stage.guidance, device=device
            )
            return Scores(image_ids, left, over_scales(per_scale, weights[i]))

        alike = stage.scales, stage.precision, stage.guidance
        if stage.samples == 1 or alike not in clean:
            own = of_sample(0)
            clean.setdefault(alike, own)
        else:
            own = clean[alike]
        noisy = [of_sample(number) for number in range(1, stage.samples)]
        return over_samples([own, *noisy]).log_likelihood

    return staged(score_left, [stage.keep for stage in stages], candidates, image_ids)
