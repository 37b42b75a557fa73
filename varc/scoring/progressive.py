"""The adaptive funnel's engine: candidates are scored scale by scale, and only those that are left.

Keys and values of the survivors are kept where memory allows, so a scale costs only its own tokens, and pairs are
packed anew after each scale, so batches stay dense.
"""

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.device import free_memory
from varc.models.var import VAR, tokens_at
from varc.models.vqvae import MultiScaleQuantizer
from varc.scoring.adaptive import AdaptiveScores, finished, survivors, unsettled
from varc.scoring.likelihood import (
    ClassTables,
    block_pass,
    class_tables,
    embed,
    head_log_prob,
    modulated,
    pair_bytes,
    pair_hidden,
    pairs_per_batch,
    score,
)
from varc.scoring.memory import in_batches, unless_out_of_memory

CPU_BYTES = 2**30  # of keys and values that a batch is made for on the CPU
KEPT_SHARE = 0.75  # of a GPU's free memory that keys and values may take, with the activations of a scale


@torch.inference_mode()
def adaptive_scores(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: Sequence[NDArray[np.uint16]],
    candidates: NDArray[np.int32],
    thresholds: NDArray[np.float64],
    *,
    device: torch.device,
    images_per_batch: int | None = None,
) -> AdaptiveScores:
    """Scores images with as much work as each needs. tokens: (N, L) per sample, the clean one first.

    Results do not depend on images_per_batch (None: chosen by the memory that keys and values take), but for float
    rounding.
    """
    images, classes = candidates.shape
    size = images_per_batch or images_at_once(var, classes, device)
    class_ids, rows = torch.from_numpy(candidates.astype(np.int64)).to(device).unique(return_inverse=True)
    tables = class_tables(var, class_ids)
    clean = torch.from_numpy(tokens[0].astype(np.int64)).to(device)
    parts = [
        scale_by_scale(var, quantizer, tables, clean[i : i + size], rows[i : i + size], thresholds)
        for i in range(0, images, size)
    ]
    per_scale, scales, alive = (np.concatenate([part[j] for part in parts]) for j in range(3))
    samples = per_scale.sum(axis=2)[None]
    used = alive.astype(np.int32)
    total = np.where(alive, samples[0], 0.0)
    for extra in tokens[1:]:
        more = (unsettled(samples, alive) & (used.max(1) == len(samples))).nonzero()[0]
        if len(more) == 0:
            break
        scored = score_survivors(var, quantizer, extra[more], candidates[more], alive[more], device)
        full = np.zeros_like(total)
        full[more] = scored
        samples = np.concatenate([samples, full[None]])
        total[more] += scored
        used[more] += alive[more]
    return finished(per_scale, scales, used, total)


def score_survivors(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    alive: NDArray[np.bool_],
    device: torch.device,
) -> NDArray[np.float64]:
    """Log-likelihoods (N, M) of one sample under the candidates that are alive; 0 for the others."""
    result = np.zeros(candidates.shape)
    for count in np.unique(alive.sum(1)[alive.any(1)]):  # images with as many survivors each make one dense call
        which = (alive.sum(1) == count).nonzero()[0]
        chosen = candidates[which][alive[which]].reshape(len(which), count)
        found = score(var, quantizer, tokens[which], chosen, device=device).sum(-1)
        part = np.zeros((len(which), candidates.shape[1]))
        part[alive[which]] = found.ravel()
        result[which] = part
    return result


def images_at_once(var: VAR, classes: int, device: torch.device) -> int:
    """How many images a batch holds, by the memory of the keys and values of a fifth of their candidates."""
    memory = free_memory(device) // 2 if device.type == "cuda" else CPU_BYTES
    return max(1, int(memory / (kept_bytes(var, var.config.num_tokens) * classes / 5)))


def kept_bytes(var: VAR, length: int) -> int:
    """Bytes of a pair's keys and values of `length` tokens."""
    return 2 * var.config.depth * length * var.config.width * 4


def scale_by_scale(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tables: ClassTables,
    tokens: Tensor,
    rows: Tensor,
    thresholds: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.bool_]]:
    """One batch: tokens (N, L), rows (N, M) of the tables. Returns per_scale, scales and who is alive at the end.

    Keys and values of the pairs that are alive are kept while they fit; where they do not, each scale is computed with
    all before it, in batches, until few enough are left.
    """
    patch_nums, device = var.config.patch_nums, tokens.device
    memory = KEPT_SHARE * free_memory(device) if device.type == "cuda" else 4 * CPU_BYTES
    x = embed(var, quantizer.teacher_input(tokens))
    per_scale = np.zeros((*rows.shape, len(patch_nums)))
    scales = np.zeros(rows.shape, np.int32)
    alive = np.ones(rows.shape, bool)
    past: list[Tensor] = []  # of each block, of the pairs that are alive; empty where none are kept
    for k in range(len(patch_nums)):
        image, candidate = (torch.from_numpy(index).to(device) for index in alive.nonzero())
        pairs = Pairs(x, tokens, image, rows[image, candidate])
        log_prob = None
        if len(image) * (kept_bytes(var, tokens_at(patch_nums, k + 1)) + step_bytes(var, k, past)) <= memory:
            log_prob = unless_out_of_memory(functools.partial(next_scale, var, tables, pairs, k, past))
        if log_prob is None:
            past.clear()
            log_prob = whole_prefix(var, tables, pairs, k)
        per_scale[..., k][alive] = log_prob.double().sum(1).cpu().numpy()
        scales[alive] = k + 1
        left = survivors(per_scale.sum(axis=2), alive, thresholds[k])
        kept = torch.from_numpy(left[alive]).to(device)
        if k + 1 < len(patch_nums) and not bool(kept.all()):
            for b in range(len(past)):  # one after the other, so that little is there twice
                past[b] = past[b][:, kept]
        alive = left
    return per_scale, scales, alive


class Pairs(NamedTuple):
    """Pairs of a batch's images, with embeddings x (N, L, C) and tokens (N, L), and rows of the class tables."""

    x: Tensor
    tokens: Tensor
    image: Tensor  # (B,)
    row: Tensor  # (B,)


def step_bytes(var: VAR, k: int, past: list[Tensor]) -> int:
    """Bytes that a pair takes in next_scale beside what is kept."""
    first, end = (tokens_at(var.config.patch_nums, i) for i in (k, k + 1))
    return pair_bytes(var, end - first if past else end)


def next_scale(var: VAR, tables: ClassTables, pairs: Pairs, k: int, past: list[Tensor]) -> Tensor:
    """log p of the tokens of scale k (B, p_k^2), float32; past gets their keys and values, one tensor per block.

    Where past is empty the scales before k are computed as well, and kept.
    """
    ends = [tokens_at(var.config.patch_nums, i) for i in range(k + 2)]
    before = ends[k] if past else 0
    spans = [(first - before, end - before) for first, end in pairwise(ends) if first >= before]
    h = pairs.x[pairs.image, before : ends[-1]]
    if before == 0:
        h[:, : ends[1]] += tables.start[pairs.row]
    whole = list[Tensor]()
    for b, block in enumerate(var.blocks):
        table = [part[pairs.row] for part in tables.blocks[b]]
        h, kv = block_pass(block, h, table, spans, past[b] if past else None)  # type: ignore[arg-type]
        if past:
            past[b] = kv
        else:
            whole.append(kv)
    past += whole
    hidden = modulated(h[:, spans[-1][0] :], tables.head[0][pairs.row], tables.head[1][pairs.row], torch.float32)
    return head_log_prob(var, hidden, pairs.tokens[pairs.image, ends[k] : ends[-1]])


def whole_prefix(var: VAR, tables: ClassTables, pairs: Pairs, k: int) -> Tensor:
    """What next_scale returns, from all scales up to k, in batches, with nothing kept."""
    first, end = (tokens_at(var.config.patch_nums, i) for i in (k, k + 1))

    def work(start: int, stop: int) -> Tensor:
        image, row = pairs.image[start:stop], pairs.row[start:stop]
        hidden = pair_hidden(var, tables, pairs.x[image, :end], row)[:, first:]
        return head_log_prob(var, hidden, pairs.tokens[image, first:end])

    size = pairs_per_batch(var, end, pairs.x.device)
    return torch.cat([log_prob for _, log_prob in in_batches(len(pairs.image), size, work)])
