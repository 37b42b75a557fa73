"""Validation of a VAR along its training: VARC's accuracy, and what its predictions of tokens lose."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from varc.device import products_in
from varc.models.arithmetic import Arithmetic
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR
from varc.scoring.likelihood import computing, score
from varc.seeded import first_by_hash
from varc.storage import image_ids, read_labels, read_parquet, read_tokens
from varc.training.selection import Figures, Measure, Rule


class Validation(NamedTuple):
    """Images that are not trained on, on which a VAR is validated every so many steps."""

    tokens: NDArray[np.uint16]  # (N, L)
    labels: NDArray[np.int64]  # (N,)
    class_ids: NDArray[np.int32]  # (M,), the candidates of each image
    every: int


def read_validation(
    tokens: Sequence[str | Path],
    manifest: str | Path,
    class_ids: Sequence[int],
    every: int,
    images: int | None,
    seed: int,
) -> Validation:
    """The validation of a data set: of all its images, or of so many, chosen by a hash of (seed, image_id)."""
    ids = [str(name) for name in image_ids(read_parquet(manifest, ["image_id"]))]
    chosen = first_by_hash(ids, images, seed, "validate")
    found, labels = read_tokens(tokens, manifest)[chosen], read_labels(manifest)[chosen]
    return Validation(found, labels, np.array(class_ids, np.int32), every)


def top1(figures: Figures) -> tuple[float, ...]:
    """For the best accuracy; fine-tuning lowers the likelihood on purpose, so that does not count."""
    return (figures["validation_accuracy"],)


def top1_then_likelihood(figures: Figures) -> tuple[float, ...]:
    """For the best accuracy, and among equals the best likelihood."""
    return figures["validation_accuracy"], -figures["validation_nats_per_token"]


def measured(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    validation: Validation | None,
    device: torch.device,
    rule: Rule,
    precision: str = "float32",
) -> Measure | None:
    """The validation of a VAR as a Selection takes it, in a precision of varc.models.arithmetic."""
    if validation is None:
        return None
    return Measure(partial(figures, var, quantizer, validation, device, precision), validation.every, rule)


def place() -> tuple[int, int]:
    """The rank of this process, and how many processes there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def figures(
    var: VAR, quantizer: MultiScaleQuantizer, validation: Validation, device: torch.device, precision: str
) -> Figures:
    """VARC's top-1 on the validation images, and their cross-entropy under their labels, -log p(x|y) in nats per token;
    the processes share the images."""
    rank, processes = place()
    tokens, labels = validation.tokens[rank::processes], validation.labels[rank::processes]
    candidates = np.tile(validation.class_ids, (len(labels), 1))
    var = computing(var, Arithmetic(precision))
    with products_in("float32"):  # but in the blocks
        scores = score(var, quantizer, tokens, candidates, device=device).sum(-1)  # (N, M)
    right = (validation.class_ids[scores.argmax(1)] == labels).sum()
    lost = -scores[candidates == labels[:, None]].sum()
    sums = torch.tensor([right, lost], dtype=torch.float64, device=device)
    if processes > 1:
        dist.all_reduce(sums)
    found, nats = sums.tolist()
    images, length = validation.tokens.shape
    return {"validation_accuracy": found / images, "validation_nats_per_token": nats / (images * length)}
