"""Token-wise mutual information (TMI), the A-VARC+ paper's explanation: the likelihood splits over tokens."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from varc.models.var import VAR
from varc.models.vqvae import MultiScaleQuantizer
from varc.scoring.likelihood import score_tokens

Floats = NDArray[np.float32]


def tmi(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    target: NDArray[np.integer],
    against: NDArray[np.integer],
    *,
    device: torch.device,
) -> Floats:
    """log p(r | earlier scales, target) - log p(r | earlier scales, against) per token (N, L), in nats.

    tokens (N, L) of all scales; target, against (N,): class_ids, num_classes for the unconditional class. Against that
    class it is TMI; against another class contrastive TMI. Summed over the tokens it is the difference of the two
    log-likelihoods.
    """
    pair = np.stack([target, against], axis=1).astype(np.int32)
    log_prob = score_tokens(var, quantizer, tokens, pair, device=device)
    return log_prob[:, 0] - log_prob[:, 1]


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
