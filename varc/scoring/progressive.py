"""The adaptive funnel of a VAR, scale by scale; varc/scoring/stepwise.py says how."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.keep import Keep, at_once
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig, tokens_at
from varc.scoring.adaptive import AdaptiveScores
from varc.scoring.batching import most_pairs, pairs_per_batch, pass_bytes, past_bytes
from varc.scoring.likelihood import (
    ClassTables,
    block_pass,
    class_tables,
    embed,
    head_log_prob,
    modulated,
    on_device,
    pair_hidden,
    scales_in,
    score,
)
from varc.scoring.stepwise import Limits, adaptive_funnel, free_now, over_chosen


@torch.inference_mode()
def adaptive_scores(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: Sequence[NDArray[np.uint16]],
    candidates: NDArray[np.int32],
    thresholds: NDArray[np.float64],
    *,
    device: torch.device,
    weights: NDArray[np.float64] | None = None,
    images_per_batch: int | None = None,
    keep: Keep = at_once,
) -> AdaptiveScores:
    """Scores images with as much work as each needs. tokens: (N, L) per sample, the clean one first.

    weights (K,): of the scales, in all decisions and in log_likelihood; per_step is without them. None: all 1.

    Results do not depend on images_per_batch (None: chosen by the memory that keys and values take), but for float
    rounding. Pieces for `keep` are the memory that is free, and the batches.
    """
    tables = class_tables(var, on_device(np.unique(candidates), device))
    limits = Limits(thresholds, np.ones(len(var.config.patch_nums)) if weights is None else weights)
    free = free_now(device, keep)
    size = pairs_per_batch(var, tokens[0].shape[1], device, free)

    def more(sample: int, which: NDArray[np.intp], left: NDArray[np.bool_]) -> NDArray[np.float64]:
        own = tokens[sample][which], candidates[which], left
        return score_survivors(var, quantizer, *own, device, size, keep, limits.weights)

    scales = Scales(var, quantizer, tables, tokens[0], candidates)
    return adaptive_funnel(scales, limits, len(tokens), more, free=free, images_per_batch=images_per_batch, keep=keep)


def score_survivors(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    alive: NDArray[np.bool_],
    device: torch.device,
    batch_size: int | None = None,
    keep: Keep = at_once,
    weights: NDArray[np.float64] | float = 1.0,
) -> NDArray[np.float64]:
    """Log-likelihoods (N, M) of one sample under the candidates that are alive; 0 for the others.

    batch_size and keep: see varc.scoring.likelihood.score. weights (K,): of the scales.
    """
    scored = score_chosen(var, quantizer, tokens, candidates, alive, device=device, batch_size=batch_size, keep=keep)
    return (scored * weights).sum(-1)


def score_chosen(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    chosen: NDArray[np.bool_],
    *,
    device: torch.device,
    batch_size: int | None = None,
    keep: Keep = at_once,
) -> NDArray[np.float64]:
    """Log-likelihoods per scale (N, M, k) of the chosen ones of each image's candidates, (N, M); 0 for the others.

    batch_size and keep: see varc.scoring.likelihood.score.
    """

    def own_scores(which: NDArray[np.bool_], own: NDArray[np.int32]) -> NDArray[np.float64]:
        return score(var, quantizer, tokens[which], own, device=device, batch_size=batch_size, keep=keep)

    return over_chosen(candidates, chosen, own_scores, scales_in(var.config.patch_nums, tokens.shape[1]))


def pairs_with_past(config: VARConfig, scale: int, memory: int) -> int:
    """How many pairs may be scored at `scale` at a time with the keys and values of the earlier ones; 0 is possible."""
    first, end = (tokens_at(config.patch_nums, k) for k in (scale, scale + 1))
    fitting = memory // (past_bytes(config, end) + pass_bytes(config, end - first))
    return min(fitting, most_pairs(end - first))


class Images(NamedTuple):
    """A batch of images, on the device."""

    x: Tensor  # (N, L, C), the transformer's input
    tokens: Tensor  # (N, L)
    rows: Tensor  # (N, M), of the tables


class Scales(NamedTuple):
    """The scales of a VAR as steps: see varc.scoring.stepwise.Stepwise."""

    var: VAR
    quantizer: MultiScaleQuantizer
    tables: ClassTables
    tokens: NDArray[np.uint16]  # (N, L)
    candidates: NDArray[np.int32]  # (N, M)

    @property
    def device(self) -> torch.device:
        return self.tables.class_ids.device

    @property
    def num_steps(self) -> int:
        return len(self.var.config.patch_nums)

    def begin(self, first: int, end: int) -> tuple[Images, list[Tensor]]:
        config, codes = self.var.config, on_device(self.tokens[first:end], self.device)
        x = embed(self.var, self.quantizer.teacher_input(codes))
        candidates = on_device(self.candidates[first:end], self.device)
        of_block = 2, candidates.numel(), config.heads, 0, config.width // config.heads
        past = [x.new_empty(of_block, dtype=self.var.arithmetic.dtype)] * config.depth
        return Images(x, codes, torch.searchsorted(self.tables.class_ids, candidates)), past

    def span(self, scale: int) -> slice:
        return slice(*(tokens_at(self.var.config.patch_nums, k) for k in (scale, scale + 1)))

    def go_on(self, batch: Images, image: Tensor, candidate: Tensor, step: int, past: list[Tensor]) -> Tensor:
        own, row = self.span(step), batch.rows[image, candidate]
        hidden = hidden_with_past(self.var, self.tables, batch.x[image, own], row, past)
        return head_log_prob(self.var, hidden, batch.tokens[image, own])

    def anew(self, batch: Images, image: Tensor, candidate: Tensor, step: int) -> Tensor:
        own, row = self.span(step), batch.rows[image, candidate]
        hidden = pair_hidden(self.var, self.tables, batch.x[image, : own.stop], row)[:, own.start :]
        return head_log_prob(self.var, hidden, batch.tokens[image, own])

    def pairs_with_past(self, step: int, memory: int) -> int:
        return pairs_with_past(self.var.config, step, memory)

    def pairs_anew(self, step: int, memory: int) -> int:
        return pairs_per_batch(self.var, self.span(step).stop, self.device, memory)


def hidden_with_past(var: VAR, tables: ClassTables, x: Tensor, rows: Tensor, past: list[Tensor]) -> Tensor:
    """What the head sees (B, l, C) of one scale's input x (B, l, C) under the rows (B,).

    past: of each block keys and values of the earlier scales, to which those of this one are added.
    """
    if past[0].shape[3] == 0:
        x = x + tables.start[rows]
    for b, block in enumerate(var.blocks):
        table = [part[rows] for part in tables.blocks[b]]
        x, past[b] = block_pass(block, x, table, [(0, x.shape[1])], past[b])  # type: ignore[arg-type]
    return modulated(x, tables.head[0][rows], tables.head[1][rows], torch.float32)
