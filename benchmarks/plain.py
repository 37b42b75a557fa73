"""The yardstick: a plain evaluator, as the paper describes the public one.

Per image, one full teacher-forced forward pass per batch of classes, with a dense mask, the class's adaLN computed in
every pass, and log-softmax over all positions; smoothing scores the clean sample again. It is the library's own VAR
module, whose forward is that plain.
"""

import torch
from torch import Tensor

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR


@torch.inference_mode()
def plain_scores(
    var: VAR, quantizer: MultiScaleQuantizer, samples: list[Tensor], classes: Tensor, batch_size: int
) -> Tensor:
    """Mean log-likelihood (N, M), float64, over token samples, each (N, L), of the images under classes (N, M)."""
    total = torch.zeros(classes.shape, dtype=torch.float64)
    for tokens in samples:
        for i in range(len(tokens)):
            teacher_input = quantizer.teacher_input(tokens[i : i + 1])
            for j in range(0, classes.shape[1], batch_size):
                labels = classes[i, j : j + batch_size]
                logits = var(labels, teacher_input.expand(len(labels), -1, -1))
                target = tokens[i].expand(len(labels), -1)[..., None]
                log_prob = logits.log_softmax(-1).gather(-1, target)[..., 0]
                total[i, j : j + len(labels)] += log_prob.double().sum(1).cpu()
    return total / len(samples)
