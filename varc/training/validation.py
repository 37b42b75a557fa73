"""Validation of a fine-tuning: VARC's accuracy every so many steps, and the step that had the best."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR
from varc.scoring.likelihood import score


class Validation(NamedTuple):
    """Images that are not trained on, on which VARC's accuracy is measured every so many steps."""

    tokens: NDArray[np.uint16]  # (N, L)
    labels: NDArray[np.int64]  # (N,)
    class_ids: NDArray[np.int32]  # (M,), the candidates of each image
    every: int


@dataclass
class Best:
    """The step with the best accuracy so far; nothing before the first is validated."""

    weights: dict[str, Tensor] = field(default_factory=dict)  # of the whole model, in the host's memory
    record: dict[str, float] = field(default_factory=dict)  # step, accuracy

    def offer(self, var: VAR, step: int, accuracy: float) -> None:
        """Takes the weights of a step unless an earlier one was better: of several the last one stays."""
        if accuracy < self.record.get("accuracy", accuracy):
            return
        self.weights.clear()  # first, so that they aren't held twice
        self.weights.update({name: t.detach().to("cpu", copy=True) for name, t in var.state_dict().items()})
        self.record.update(step=step, accuracy=accuracy)


def validated(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    validation: Validation | None,
    best: Best,
    last: int,
    device: torch.device,
    row: dict[str, float],
) -> dict[str, float]:
    """What a step's row of the curve gets: the accuracy, where it is due, as it is after the last step; the first of
    several processes offers the weights to `best`."""
    step = int(row["step"])
    if validation is None or (step % validation.every and step != last):
        return {}
    found = accuracy(var, quantizer, validation, device)
    if place()[0] == 0:
        best.offer(var, step, found)
    return {"validation_accuracy": found}


def place() -> tuple[int, int]:
    """The rank of this process, and how many processes there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def accuracy(var: VAR, quantizer: MultiScaleQuantizer, validation: Validation, device: torch.device) -> float:
    """VARC's top-1 on the validation images, which the processes share."""
    rank, processes = place()
    tokens, labels = validation.tokens[rank::processes], validation.labels[rank::processes]
    candidates = np.tile(validation.class_ids, (len(labels), 1))
    scores = score(var, quantizer, tokens, candidates, device=device).sum(-1)
    right = torch.tensor((validation.class_ids[scores.argmax(1)] == labels).sum(), device=device)
    if processes > 1:
        dist.all_reduce(right)
    return right.item() / len(validation.labels)
