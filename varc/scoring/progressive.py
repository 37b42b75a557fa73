"""The adaptive funnel's engine: candidates are scored scale by scale, and only those that are left.

Keys and values of the survivors are kept, so a scale costs only its own tokens, and pairs are packed anew after each
scale, so batches stay dense.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.models.var import VAR, tokens_at
from varc.models.vqvae import MultiScaleQuantizer
from varc.scoring.adaptive import AdaptiveScores, finished, survivors, unsettled
from varc.scoring.likelihood import ClassTables, block_pass, class_tables, embed, head_log_prob, modulated, score

CPU_BYTES = 2**30  # keys and values that a batch may hold on the CPU


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
    config = var.config
    per_pair = 2 * config.depth * config.num_tokens * config.width * 4
    memory = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else CPU_BYTES
    return max(1, int(memory / (per_pair * classes / 5)))


def scale_by_scale(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tables: ClassTables,
    tokens: Tensor,
    rows: Tensor,
    thresholds: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.bool_]]:
    """One batch: tokens (N, L), rows (N, M) of the tables. Returns per_scale, scales and who is alive at the end."""
    images, classes = rows.shape
    patch_nums = var.config.patch_nums
    x = embed(var, quantizer.teacher_input(tokens))
    per_scale = np.zeros((images, classes, len(patch_nums)))
    scales = np.zeros((images, classes), np.int32)
    alive = np.ones((images, classes), bool)
    past: list[Tensor | None] = [None] * len(var.blocks)
    for k in range(len(patch_nums)):
        image, candidate = (torch.from_numpy(index).to(tokens.device) for index in alive.nonzero())
        row = rows[image, candidate]
        first, end = tokens_at(patch_nums, k), tokens_at(patch_nums, k + 1)
        h = x[image, first:end]
        if k == 0:
            h = h + tables.start[row]
        for b, block in enumerate(var.blocks):
            table = [part[row] for part in tables.blocks[b]]
            h, past[b] = block_pass(block, h, table, [(0, end - first)], past[b])  # type: ignore[arg-type]
        hidden = modulated(h, tables.head[0][row], tables.head[1][row], torch.float32)
        log_prob = head_log_prob(var, hidden, tokens[image, first:end])
        per_scale[..., k][alive] = log_prob.double().sum(1).cpu().numpy()
        scales[alive] = k + 1
        left = survivors(per_scale.sum(axis=2), alive, thresholds[k])
        kept = torch.from_numpy(left[alive]).to(tokens.device)
        if k + 1 < len(patch_nums) and not bool(kept.all()):
            past = [kv[:, kept] for kv in past if kv is not None]
        alive = left
    return per_scale, scales, alive
