"""Scores under classifier-free guidance: a negative result of the A-VARC+ paper, which lowers the accuracy."""

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.models.var import VAR
from varc.models.vqvae import MultiScaleQuantizer
from varc.scoring.likelihood import (
    HEAD_ROWS,
    ClassTables,
    class_tables,
    embed,
    pair_hidden,
    pairs_per_batch,
    scales_in,
    sum_per_scale,
)
from varc.scoring.memory import in_batches


@torch.inference_mode()
def score_guided(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    guidance: float,
    *,
    device: torch.device,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float64]:
    """Log-likelihoods per scale (N, M, k), in nats, of images under their candidates, under guided logits.

    The logits are (1 + w) times those under the class less w times the unconditional ones, w the guidance, the same at
    all scales (Ho and Salimans 2022); 0 gives varc.scoring.likelihood.score. One image at a time: its candidates in
    batches as score's, the unconditional class once.
    """
    patch_nums = var.config.patch_nums
    result = np.empty((*candidates.shape, scales_in(patch_nums, tokens.shape[1])))
    all_tokens = torch.from_numpy(tokens.astype(np.int64)).to(device)
    tables = class_tables(var, torch.from_numpy(np.unique([*candidates.flat, var.config.num_classes])).to(device))
    rows = torch.searchsorted(tables.class_ids, torch.from_numpy(candidates.astype(np.int64)).to(device))
    unconditional = torch.tensor([len(tables.class_ids) - 1], device=device)  # the largest class_id
    size = pairs_per_batch(var, tokens.shape[1], device)
    for i, row in enumerate(rows):
        image = all_tokens[i : i + 1]
        x = embed(var, quantizer.teacher_input(image))
        without = pair_hidden(var, tables, x, unconditional)
        work = functools.partial(guided_pairs, var, tables, x, row, without, image[0], guidance)
        for first, log_prob in in_batches(len(row), size, work):
            result[i, first : first + len(log_prob)] = sum_per_scale(log_prob, patch_nums).cpu().numpy()
        report(i + 1, len(result))
    return result


def guided_pairs(
    var: VAR,
    tables: ClassTables,
    x: Tensor,
    rows: Tensor,
    without: Tensor,
    tokens: Tensor,
    guidance: float,
    first: int,
    end: int,
) -> Tensor:
    """log p of an image's tokens (L,), float32 (B, L), under a batch of its rows; without: unconditional, (1, L, C)."""
    hidden = pair_hidden(var, tables, x.expand(end - first, -1, -1), rows[first:end])
    return guided_log_prob(var, torch.cat([hidden, without]), tokens, guidance)


def guided_log_prob(var: VAR, hidden: Tensor, tokens: Tensor, guidance: float) -> Tensor:
    """log p of tokens (L,), float32 (M, L), from what the head sees (M + 1, L, C): the last row is unconditional."""
    parts = []
    step = max(1, HEAD_ROWS // len(hidden))
    for h, target in zip(hidden.split(step, dim=1), tokens.split(step), strict=True):
        logits = var.head(h)
        guided = (1 + guidance) * logits[:-1] - guidance * logits[-1:]
        parts.append(guided.log_softmax(-1).gather(-1, target.expand(len(guided), -1)[..., None])[..., 0])
    return torch.cat(parts, dim=1)
