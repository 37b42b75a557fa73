"""The adaptive funnel's engine: candidates are scored scale by scale, and only those that are left.

Keys and values of the survivors are kept, so a scale costs only its own tokens, and pairs are packed anew after each
scale, so batches stay dense. Where memory does not hold the keys and values of a batch, its last images come again in
the next one; where it does not hold those of one image, they are computed anew at each scale for its last candidates.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.device import free_memory
from varc.keep import Keep, at_once
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig, tokens_at
from varc.scoring.adaptive import AdaptiveScores, finished, survivors, unsettled
from varc.scoring.batching import (
    GPU_SHARE,
    MOST_PAIRS,
    in_batches,
    most_pairs,
    pairs_per_batch,
    pass_bytes,
    past_bytes,
    unless_out_of_memory,
)
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

CPU_BYTES = 2**30  # keys and values of the images that start together on the CPU, as far as can be foreseen
CPU_MOST_BYTES = 2**32  # what they may come to there

logger = logging.getLogger(__name__)

Scored = tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.bool_]]  # per_scale, scales, who is alive at the end


class Limits(NamedTuple):
    """How far a candidate's weighted sum may be behind the best after each scale, in nats, and the weights: (K,)."""

    thresholds: NDArray[np.float64]
    weights: NDArray[np.float64]


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

    weights (K,): of the scales, in all decisions and in log_likelihood; per_scale is without them. None: all 1.

    Results do not depend on images_per_batch (None: chosen by the memory that keys and values take), but for float
    rounding. Pieces for `keep` are the memory that is free, and the batches.
    """
    tables = class_tables(var, on_device(np.unique(candidates), device))
    if weights is None:
        weights = np.ones(len(var.config.patch_nums))
    free = int(keep(lambda: np.array(free_memory(device) if device.type == "cuda" else 0)))
    limits = Limits(thresholds, weights)
    clean = clean_parts(var, quantizer, tables, tokens[0], candidates, limits, images_per_batch, free, keep)
    parts = list(clean)
    per_scale, scales, alive = (np.concatenate([part[j] for part in parts]) for j in range(3))
    samples = (per_scale * weights).sum(axis=2)[None]
    used = alive.astype(np.int32)
    total = np.where(alive, samples[0], 0.0)
    size = pairs_per_batch(var, tokens[0].shape[1], device, free)
    for extra in tokens[1:]:
        more = (unsettled(samples, alive) & (used.max(1) == len(samples))).nonzero()[0]
        if len(more) == 0:
            break
        scored = score_survivors(
            var, quantizer, extra[more], candidates[more], alive[more], device, size, keep, weights
        )
        full = np.zeros_like(total)
        full[more] = scored
        samples = np.concatenate([samples, full[None]])
        total[more] += scored
        used[more] += alive[more]
    return finished(per_scale, scales, used, total, weights)


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
    result = np.zeros((*candidates.shape, scales_in(var.config.patch_nums, tokens.shape[1])))
    for count in np.unique(chosen.sum(1)[chosen.any(1)]):  # images with as many each make one dense call
        which = chosen.sum(1) == count
        own = candidates[which][chosen[which]].reshape(-1, count)
        found = score(var, quantizer, tokens[which], own, device=device, batch_size=batch_size, keep=keep)
        result[chosen & which[:, None]] = found.reshape(-1, result.shape[2])
    return result


def clean_parts(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tables: ClassTables,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    limits: Limits,
    size: int | None,
    free: int,
    keep: Keep,
) -> Iterator[Scored]:
    """What scale_by_scale returns for every batch of images, `size` at first, in order. free: see budget."""
    start, memory = budget(tables.class_ids.device, free)
    size = size or images_at_once(var.config, candidates.shape[1], start)
    done = 0
    while done < len(tokens):
        batch = tokens[done : done + size], candidates[done : done + size]
        run = functools.partial(scale_by_scale, var, quantizer, tables, *batch, limits)
        per_scale, scales, alive, left = keep(functools.partial(within_memory, run, var.config, memory))
        yield per_scale, scales, alive
        memory, size = int(left), len(alive)
        done += size


def within_memory(run: Callable[[int], Scored], config: VARConfig, memory: int) -> tuple[NDArray[Any], ...]:
    """What run(memory) returns, and the memory: so much as given, or less, halved where it does not suffice."""
    while True:
        found = unless_out_of_memory(functools.partial(run, memory), last=pairs_with_past(config, 0, memory) == 0)
        if found is not None:
            return *found, np.array(memory)
        memory //= 2
        logger.warning("out of memory: %d MiB for keys and values from here on", memory >> 20)


def budget(device: torch.device, free: int) -> tuple[int, int]:
    """Bytes of keys and values that images should start with together, and that a batch may come to.

    free: bytes that are free on a GPU.
    """
    if device.type != "cuda":
        return CPU_BYTES, CPU_MOST_BYTES
    most = int(GPU_SHARE * free)
    return most, most


def pairs_with_past(config: VARConfig, scale: int, memory: int) -> int:
    """How many pairs may be scored at `scale` at a time with the keys and values of the earlier ones; 0 is possible."""
    first, end = (tokens_at(config.patch_nums, k) for k in (scale, scale + 1))
    fitting = memory // (past_bytes(config, end) + pass_bytes(config, end - first))
    return min(fitting, most_pairs(end - first))


def images_at_once(config: VARConfig, classes: int, memory: int) -> int:
    """How many images start together: as many as fit at the last scale where a fifth of their candidates are left."""
    left = max(1.0, classes / 5)
    fitting = int(pairs_with_past(config, len(config.patch_nums) - 1, memory) / left)
    return max(1, min(fitting, MOST_PAIRS // classes))


def whole_images(alive: NDArray[np.bool_], pairs: int) -> int:
    """How many of the first images, 1 at least, have no more candidates alive (N, M) in all than so many pairs."""
    return max(1, int(np.searchsorted(alive.sum(1).cumsum(), pairs, side="right")))


class Images(NamedTuple):
    """A batch of images, on the device."""

    x: Tensor  # (N, L, C), the transformer's input
    tokens: Tensor  # (N, L)
    rows: Tensor  # (N, M), of the tables


def scale_by_scale(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tables: ClassTables,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    limits: Limits,
    memory: int,
) -> Scored:
    """One batch: tokens (N, L), candidates (N, M). Returns per_scale, scales and who is alive at the end.

    These are of the first images, 1 at least: of as many as have their survivors' keys and values in `memory` bytes at
    every scale. Of one image alone the first survivors have theirs there, and the others none.
    """
    config, device = var.config, tables.class_ids.device
    codes = on_device(tokens, device)
    x = embed(var, quantizer.teacher_input(codes))
    images = Images(x, codes, torch.searchsorted(tables.class_ids, on_device(candidates, device)))
    left = alive = np.ones(candidates.shape, bool)
    per_scale = np.zeros((*alive.shape, len(config.patch_nums)))
    scales = np.zeros(alive.shape, np.int32)
    of_block = 2, alive.size, config.heads, 0, config.width // config.heads
    past = [x.new_empty(of_block, dtype=var.arithmetic.dtype)] * config.depth
    for k in range(len(config.patch_nums)):
        room = pairs_with_past(config, k, memory)
        done = whole_images(left, room)
        keep_survivors(past, left[alive], min(room, int(left[:done].sum())))
        alive, per_scale, scales = left[:done], per_scale[:done], scales[:done]
        per_scale[..., k][alive] = scale_sums(var, tables, images, alive, k, past, memory)
        scales[alive] = k + 1
        left = survivors((per_scale * limits.weights).sum(axis=2), alive, limits.thresholds[k])
    return per_scale, scales, left


def keep_survivors(past: list[Tensor], left: NDArray[np.bool_], most: int) -> None:
    """Takes out of `past`, block by block, the keys and values of all pairs but those `left` (P,), the first `most`."""
    kept = left[: past[0].shape[1]]
    kept = kept & (kept.cumsum() <= most)
    if not kept.all():
        positions = on_device(kept.nonzero()[0], past[0].device)
        for b in range(len(past)):
            past[b] = past[b][:, positions]


def scale_sums(
    var: VAR, tables: ClassTables, images: Images, alive: NDArray[np.bool_], k: int, past: list[Tensor], memory: int
) -> NDArray[np.float64]:
    """log p of scale k's tokens (P,), in nats, of the pairs of images and candidates that are alive (N, M).

    past: keys and values of the first pairs, to which those of scale k are added. The other pairs start anew, in as
    much memory as `past` may take.
    """
    image, candidate = (on_device(index, images.x.device) for index in alive.nonzero())
    row, held = images.rows[image, candidate], past[0].shape[1]
    first, end = (tokens_at(var.config.patch_nums, scale) for scale in (k, k + 1))
    parts = []

    def anew(start: int, stop: int) -> Tensor:
        own, at = row[held + start : held + stop], image[held + start : held + stop]
        hidden = pair_hidden(var, tables, images.x[at, :end], own)[:, first:]
        return head_log_prob(var, hidden, images.tokens[at, first:end])

    if held:
        hidden = hidden_with_past(var, tables, images.x[image[:held], first:end], row[:held], past)
        parts.append(head_log_prob(var, hidden, images.tokens[image[:held], first:end]))
    if held < len(row):
        size = pairs_per_batch(var, end, images.x.device, memory)
        parts += [found for _, found in in_batches(len(row) - held, size, anew)]
    return torch.cat(parts).double().sum(1).cpu().numpy()


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
