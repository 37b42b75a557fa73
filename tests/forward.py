"""The plain forward pass, by which the scoring engine is checked."""

import torch
from torch import Tensor

from varc.models.var import VAR


@torch.inference_mode()
def log_prob_per_token(var: VAR, teacher_input: Tensor, tokens: Tensor, labels: Tensor) -> Tensor:
    """log p(r_i | earlier scales, label) in nats, float32 (B, L), of tokens (B, L) under labels (B,).

    teacher_input: (B, L - p_0^2, Cvae) of the same tokens, see MultiScaleQuantizer.teacher_input.
    """
    log_prob = var(labels, teacher_input).log_softmax(dim=-1)
    return log_prob.gather(-1, tokens[..., None])[..., 0]
