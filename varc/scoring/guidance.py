"""Scores under classifier-free guidance: a negative result of the A-VARC+ paper, which lowers the accuracy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.keep import Keep, at_once
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR
from varc.scoring.attention import HEAD_ROWS, log_prob
from varc.scoring.likelihood import (
    ClassTables,
    OfPairs,
    batches,
    linear,
    pair_hidden,
    scales_in,
    sum_per_scale,
)


@torch.inference_mode()
def score_guided(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    guidance: float,
    *,
    device: torch.device,
    batch_size: int | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
    keep: Keep = at_once,
    state: dict[str, Tensor] | None = None,
) -> NDArray[np.float64]:
    """Log-likelihoods per scale (N, M, k), in nats, of images under their candidates, under guided logits.

    The logits are (1 + w) times those under the class less w times the unconditional ones, w the guidance, the same at
    all scales (Ho and Salimans 2022); 0 gives varc.scoring.likelihood.score. The unconditional class is each image's
    first candidate. batch_size, report and keep: see there. state: gets what a batch needs of the ones before; where
    keep has pieces of an earlier run, it must be as that run left it.
    """
    patch_nums = var.config.patch_nums
    unconditional = np.full((len(candidates), 1), var.config.num_classes, candidates.dtype)
    classes = np.concatenate([unconditional, candidates], axis=1)
    result = np.empty((classes.size, scales_in(patch_nums, tokens.shape[1])))
    guided = guided_pairs(guidance, {} if state is None else state)
    for first, found in batches(var, quantizer, tokens, classes, device, batch_size, guided, keep):
        result[first : first + len(found)] = found
        report(first + len(found), len(result))
    return result.reshape(*classes.shape, -1)[:, 1:]


def guided_pairs(guidance: float, state: dict[str, Tensor]) -> OfPairs:
    """What gives the guided log p per scale of batches of pairs that come in order, each image's unconditional one
    first.

    What the head saw of the last unconditional pair stays in the state for the next batch, which may go on with the
    same image.
    """

    def scales(var: VAR, tables: ClassTables, x: Tensor, tokens: Tensor, rows: Tensor) -> NDArray[Any]:
        hidden = pair_hidden(var, tables, x, rows)
        unconditional = rows == len(tables.class_ids) - 1
        before = [tensor.to(hidden.device) for tensor in state.values()]
        bases = torch.cat([*before, hidden[unconditional]])  # (images, L, C)
        base = len(before) + unconditional.cumsum(0) - 1
        log_prob = guided_log_prob(var, hidden, bases, base, tokens, guidance)
        found = sum_per_scale(log_prob, var.config.patch_nums).cpu().numpy()
        state["unconditional"] = bases[-1:].clone()
        return found

    return scales


def guided_log_prob(var: VAR, hidden: Tensor, bases: Tensor, base: Tensor, tokens: Tensor, guidance: float) -> Tensor:
    """log p of tokens (B, L), float32, from what the head sees of each pair (B, L, C) and of the unconditional ones.

    bases (N, L, C): of each image. base (B,): the position there of a pair's image.
    """
    length = tokens.shape[1]
    where = base[:, None] * length + torch.arange(length, device=base.device)
    flat, parts = bases.flatten(0, 1), []
    pieces = (part.split(HEAD_ROWS) for part in (hidden.flatten(0, 1), where.flatten(), tokens.flatten()))
    for rows, other, target in zip(*pieces, strict=True):
        logits = linear(rows, var.head.weight, var.head.bias)
        unconditional = linear(flat[other], var.head.weight, var.head.bias)
        guided = (1 + guidance) * logits - guidance * unconditional
        parts.append(log_prob(guided, target, var.arithmetic.forms.log_prob))
    return torch.cat(parts).view(tokens.shape)
