"""Token-wise mutual information (TMI), the A-VARC+ paper's explanation: the likelihood splits over tokens."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from varc.models.var import VAR
from varc.models.vqvae import MultiScaleQuantizer
from varc.scoring.funnel import Scores
from varc.scoring.likelihood import score_tokens

Floats = NDArray[np.float32]
Ints = NDArray[np.integer]
UNCONDITIONAL = -1  # in place of a class_id


def tmi(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    target: Ints,
    against: Ints,
    *,
    device: torch.device,
) -> Floats:
    """log p(r | earlier scales, target) - log p(r | earlier scales, against) per token (N, L), in nats.

    tokens (N, L) of all scales; target, against (N,): class_ids, -1 for the unconditional class. Against that class it
    is TMI; against another class contrastive TMI. Summed over the tokens it is the difference of the two
    log-likelihoods.
    """
    pair = np.stack([target, against], axis=1).astype(np.int32)
    pair[pair == UNCONDITIONAL] = var.config.num_classes
    log_prob = score_tokens(var, quantizer, tokens, pair, device=device)
    return log_prob[:, 0] - log_prob[:, 1]


def explained_images(image_ids: NDArray[np.object_], images: int | None, seed: int) -> NDArray[np.bool_]:
    """Which images (N,) of a data set are explained: the first so many by a hash of (seed, image_id); None: all."""
    if images is None or images >= len(image_ids):
        return np.ones(len(image_ids), bool)
    digests = [hashlib.sha256(f"{seed}\0explain\0{image_id}".encode()).digest() for image_id in image_ids]
    chosen = np.zeros(len(image_ids), bool)
    chosen[sorted(range(len(digests)), key=digests.__getitem__)[:images]] = True
    return chosen


def choose_target(target: str | int, labels: Ints, scores: Scores | None) -> Ints:
    """The class_id (N,) that is explained: the label, VARC's prediction by the scores, or one class_id for all."""
    if target == "label":
        return labels
    if target == "prediction":
        assert scores is not None
        return best_but(scores, np.full(len(labels), UNCONDITIONAL))
    return np.full(len(labels), int(target))


def choose_against(against: str | int, target: Ints, scores: Scores | None) -> Ints:
    """The class_id (N,) that the target is told from: -1 for unconditional, else the runner-up (the best class other
    than the target) or one class_id for all."""
    if against == "unconditional":
        return np.full(len(target), UNCONDITIONAL)
    if against == "runner_up":
        assert scores is not None
        return best_but(scores, target)
    return np.full(len(target), int(against))


def best_but(scores: Scores, left_out: Ints) -> Ints:
    """The best class of each image other than left_out (N,)."""
    others = np.where(scores.class_ids == left_out[:, None], -np.inf, scores.log_likelihood)
    return np.take_along_axis(scores.class_ids, others.argmax(1)[:, None], 1)[:, 0]


def scale_maps(per_token: Floats, patch_nums: Sequence[int]) -> Floats:
    """The map of each scale (N, K, p_K, p_K), unweighted, from per-token values (N, L); by nearest neighbours.

    F.interpolate(mode="nearest"), as the paper's code has it.
    """
    full, first, maps = patch_nums[-1], 0, []
    for p in patch_nums:
        part = torch.from_numpy(np.ascontiguousarray(per_token[:, first : first + p * p]))
        maps.append(F.interpolate(part.view(-1, 1, p, p), size=(full, full), mode="nearest"))
        first += p * p
    return torch.cat(maps, dim=1).numpy()


def scale_weights(patch_nums: Sequence[int]) -> Floats:
    """The paper's weight of each scale (K,): (p_k / p_K)^2, so that a token counts by the area that it stands for."""
    return np.square(np.array(patch_nums, np.float32) / np.float32(patch_nums[-1]))


def tmi_map(per_token: Floats, patch_nums: Sequence[int]) -> Floats:
    """The map (N, p_K, p_K) before clipping and scaling: the weighted sum of the scales' maps."""
    weighted = scale_maps(per_token, patch_nums) * scale_weights(patch_nums)[:, None, None]
    return weighted.sum(axis=1)


def as_picture(maps: Floats) -> Floats:
    """Maps (N, h, w) clipped below 0 and scaled to [0, 1] each; all 0 where nothing is above 0."""
    clipped = np.maximum(maps, 0)
    low, high = clipped.min(axis=(1, 2), keepdims=True), clipped.max(axis=(1, 2), keepdims=True)
    return (clipped - low) / np.maximum(high - low, 1e-12)
