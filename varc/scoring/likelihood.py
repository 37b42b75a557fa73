"""The engine: log-likelihoods of tokens under classes, by one teacher-forced forward pass per class."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.models.var import VAR
from varc.models.vqvae import MultiScaleQuantizer


@torch.inference_mode()
def log_prob_per_token(var: VAR, teacher_input: Tensor, tokens: Tensor, labels: Tensor) -> Tensor:
    """log p(r_i | earlier scales, label) in nats, float32 (B, L), of tokens (B, L) under labels (B,).

    teacher_input: (B, L - p_0^2, Cvae) of the same tokens, see MultiScaleQuantizer.teacher_input.
    """
    log_prob = var(labels, teacher_input).log_softmax(dim=-1)
    return log_prob.gather(-1, tokens[..., None])[..., 0]


def sum_per_scale(log_prob: Tensor, patch_nums: tuple[int, ...]) -> Tensor:
    """Sums of (B, L) over the tokens of each scale that L covers: float64 (B, k)."""
    sizes = [p * p for p in patch_nums]
    scales = next(k for k in range(len(sizes) + 1) if sum(sizes[:k]) == log_prob.shape[1])
    return torch.stack([part.double().sum(1) for part in log_prob.split(sizes[:scales], dim=1)], dim=1)


@torch.inference_mode()
def score(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    *,
    batch_size: int,
    device: torch.device,
) -> NDArray[np.float64]:
    """Log-likelihoods per scale (N, M, k), in nats, of images under their candidate classes.

    tokens: (N, L) of the first k scales. candidates: (N, M) class_ids. A batch holds (image, class) pairs, also of
    several images; its size changes results by float rounding only.
    """
    images, classes = candidates.shape
    all_tokens = torch.from_numpy(tokens.astype(np.int64))
    labels = torch.from_numpy(candidates.astype(np.int64)).flatten()
    parts = []
    for start in range(0, images * classes, batch_size):
        pairs = torch.arange(start, min(start + batch_size, images * classes))
        image = pairs // classes
        first, last = int(image[0]), int(image[-1])
        batch = all_tokens[first : last + 1].to(device)
        row = (image - first).to(device)
        teacher_input = quantizer.teacher_input(batch)[row]
        log_prob = log_prob_per_token(var, teacher_input, batch[row], labels[pairs].to(device))
        parts.append(sum_per_scale(log_prob, var.config.patch_nums).cpu())
    return torch.cat(parts).numpy().reshape(images, classes, -1)
