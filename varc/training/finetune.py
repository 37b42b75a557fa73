"""Fine-tuning of a VAR on cached tokens, by CCA or, as its control, by further cross-entropy steps.

In one process, or in several (varc/training/finetune_files.py). A step's batch, its negative labels and its dropped
labels do not depend on how many processes or micro-batches share it.
"""

import copy
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from varc.costs.memory import finetune_bytes
from varc.device import check_precision, gpu_memory
from varc.errors import InputError
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.scoring.likelihood import score
from varc.training.cca import cca_loss, draw_labels, empty_cache, reference_log_likelihood
from varc.training.loop import Checkpoint, Curve, optimise

CHECKPOINTS = 20  # per training

Tokens = NDArray[np.uint16]


class Validation(NamedTuple):
    """Images that are not trained on, on which VARC's accuracy is measured every so many steps."""

    tokens: Tokens  # (N, L)
    labels: NDArray[np.int64]  # (N,)
    class_ids: NDArray[np.int32]  # (M,), the candidates of each image
    every: int


def finetune(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: Tokens,
    labels: NDArray[np.int64],
    settings: dict[str, Any],
    *,
    seed: int,
    device: torch.device,
    validation: Validation | None = None,
    checkpoint: Path | None = None,
    report: Callable[[str], None] = print,
) -> tuple[VAR, Curve]:
    """Fine-tunes `var`, in place, on tokens (S, N, L) with labels (N,); returns it in eval mode, and the curve.

    settings: steps, batch_size, lr, accumulate (micro-batches per step and process), precision (float32 or bf16, by
    autocast), and beta and lambda for CCA; without them the loss is cross-entropy. With a validation set the weights
    of the step with the best accuracy are returned, of several the last one; step 0 takes part. Of several processes
    all validate, and the first one returns these weights.

    Raises InputError for a batch_size that accumulate times the processes does not divide, for a step that is planned
    to take more memory than the GPU has, and for a loss that is not finite.
    """
    check_precision(settings["precision"], device)
    rank, processes = place()
    parts = settings["accumulate"] * processes
    if settings["batch_size"] % parts:
        raise InputError(
            f"batch_size {settings['batch_size']} is no multiple of accumulate {settings['accumulate']} "
            f"times {processes} processes; change one of them"
        )
    check_memory(var.config, settings, settings["batch_size"] // parts, device)
    own = range(rank, parts, processes)
    digest = fingerprint(var, tokens, labels, settings, seed) if checkpoint else ""
    var = var.to(device)
    reference = copy.deepcopy(var).eval().requires_grad_(False) if "beta" in settings else None
    var = var.train().requires_grad_(True)
    wrapped = distributed(var) if processes > 1 else var
    cache = empty_cache(tokens.shape[0], tokens.shape[1], var.config.num_classes + 1)
    amp = torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16")

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        batch = draw_batch(tokens, labels, var.config.num_classes, step, settings, seed)
        share = max(batch.contrast.mean(), 1 / len(batch.contrast))
        for rows in (np.array_split(np.arange(settings["batch_size"]), parts)[i] for i in own):
            part = Batch(*(values[rows] for values in batch))
            targets = torch.from_numpy(tokens[part.sample, part.image].astype(np.int64)).to(device)
            with torch.no_grad():
                teacher_input = quantizer.teacher_input(targets)
            if reference is None:
                values = cross_entropy_part(wrapped, part, targets, teacher_input, amp)
            else:
                models = (wrapped, reference)
                values = cca_part(models, cache, part, targets, teacher_input, settings, share, amp)
            yield {name: value / settings["accumulate"] for name, value in values.items()}

    keep: dict[str, Tensor] = {}  # the weights of the best step, in the first process: in the host's memory

    def validate(row: dict[str, float]) -> dict[str, float]:
        """Its accuracy for a row of the curve; keeps the best weights."""
        step, steps = int(row["step"]), settings["steps"]
        if validation is None or (step % validation.every and step != steps):
            return {}
        found = accuracy(var, quantizer, validation, device)
        if rank == 0 and found >= float(keep.get("accuracy", torch.tensor(-1.0))):
            keep.clear()
            keep.update({name: t.detach().to("cpu", copy=True) for name, t in var.state_dict().items()})
            keep["accuracy"] = torch.tensor(found, dtype=torch.float64)
            keep["step"] = torch.tensor(step)
        return {"validation_accuracy": found}

    start = validate({"step": 0})
    saved = None
    if checkpoint is not None:
        every = max(1, settings["steps"] // CHECKPOINTS)
        saved = Checkpoint(checkpoint, every, digest, keep if rank == 0 else {})
    curve = optimise(
        var.parameters(),
        losses,
        steps=settings["steps"],
        lr=settings["lr"],
        report=report,
        after=validate,
        checkpoint=saved,
    )
    if keep:
        report(f"best validation accuracy {float(keep.pop('accuracy')):.4f} at step {int(keep.pop('step'))}")
        var.load_state_dict(keep)
    return var.eval().requires_grad_(False), [{"step": 0, **start}, *curve]


def place() -> tuple[int, int]:
    """The rank of this process, and how many processes there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def distributed(var: VAR) -> nn.Module:
    """The model of one of several processes. Its gradients lie in the buffers that are summed: no second copy."""
    return DistributedDataParallel(var, broadcast_buffers=False, gradient_as_bucket_view=True)


def check_memory(config: VARConfig, settings: dict[str, Any], images: int, device: torch.device) -> None:
    """Raises InputError where a step with so many images at a time is planned to take more than the GPU has."""
    need = finetune_bytes(config, images, settings["precision"], "beta" in settings, config.num_classes)
    has = gpu_memory(device)
    if has is not None and need > has:
        raise InputError(
            f"accumulate {settings['accumulate']}, precision {settings['precision']}: {images} images at a time take "
            f"{need / 2**30:.1f} GiB, and the GPU has {has / 2**30:.1f}; raise accumulate, or take precision bf16"
        )


class Batch(NamedTuple):
    """A batch, or a part of one: positions of images and samples, labels, negative labels; see draw_labels."""

    image: NDArray[np.int64]
    sample: NDArray[np.int64]
    label: NDArray[np.int64]
    negative: NDArray[np.int64]
    contrast: NDArray[np.bool_]


def draw_batch(
    tokens: Tokens, labels: NDArray[np.int64], unconditional: int, step: int, settings: dict[str, Any], seed: int
) -> Batch:
    """A step's whole batch. Every image comes once an epoch, in an order drawn per (seed, epoch); the rest is drawn per
    (seed, step)."""
    size, images = settings["batch_size"], tokens.shape[1]
    position = np.arange(step * size, (step + 1) * size)
    image = np.array([shuffled(images, seed, int(p) // images)[p % images] for p in position])
    rng = np.random.default_rng([seed, step, 1])
    sample = rng.integers(tokens.shape[0], size=size)
    return Batch(image, sample, *draw_labels(labels[image], unconditional, rng))


def cross_entropy_part(
    model: nn.Module, part: Batch, targets: Tensor, teacher_input: Tensor, amp: torch.autocast
) -> dict[str, Tensor]:
    """The loss of a part of a batch, nats per token."""
    with amp:
        logits = model(torch.from_numpy(part.label).to(targets.device), teacher_input)
    return {"loss": F.cross_entropy(logits.flatten(0, 1), targets.flatten())}


def cca_part(
    models: tuple[nn.Module, nn.Module],
    cache: Tensor | None,
    part: Batch,
    targets: Tensor,
    teacher_input: Tensor,
    settings: dict[str, Any],
    share: float,
    amp: torch.autocast,
) -> dict[str, Tensor]:
    """CCA's loss of a part of a batch with tokens `targets` (B, L), and its mean log-ratios, nats per image.

    models: the one that is tuned, and the reference. share: of true negatives in the whole batch, so that the means
    of the parts average to the batch's.
    """
    model, reference = models
    device = targets.device
    label = torch.from_numpy(np.concatenate([part.label, part.negative])).to(device)
    targets, teacher_input = targets.repeat(2, 1), teacher_input.repeat(2, 1, 1)

    def of_reference(missing: Tensor) -> Tensor:
        rows = missing.to(device)
        with torch.no_grad():
            return log_likelihood(reference, targets[rows], teacher_input[rows], label[rows], amp).cpu()

    keys = (*(torch.from_numpy(np.tile(key, 2)) for key in (part.sample, part.image)), label.cpu())
    expected = reference_log_likelihood(cache, keys, of_reference).to(device)  # before the model's graph takes memory
    gap, negative_gap = (log_likelihood(model, targets, teacher_input, label, amp) - expected).chunk(2)
    contrast = torch.from_numpy(part.contrast).to(device)
    return {
        "loss": cca_loss(gap, negative_gap, contrast, settings["beta"], settings["lambda"]),
        "log_ratio": gap.mean(),
        "log_ratio_negative": torch.where(contrast, negative_gap, 0.0).mean() / share,
    }


def log_likelihood(
    model: nn.Module, targets: Tensor, teacher_input: Tensor, label: Tensor, amp: torch.autocast
) -> Tensor:
    """log p(x|y) (B,), float64, in nats."""
    with amp:
        logits = model(label, teacher_input)
    log_prob = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    return log_prob.double().sum(1)


@functools.lru_cache(maxsize=2)
def shuffled(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the images in an epoch."""
    return np.random.default_rng([seed, epoch, 0]).permutation(images)


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


def fingerprint(var: VAR, tokens: Tokens, labels: NDArray[np.int64], settings: dict[str, Any], seed: int) -> str:
    """What a fine-tuning is made from, as a digest."""
    digest = hashlib.sha256(json.dumps([settings, seed], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(tokens).data)
    digest.update(labels.tobytes())
    for parameter in var.parameters():
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
