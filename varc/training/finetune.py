"""Fine-tuning of a VAR on cached tokens: by CCA, by a discriminative term or, as their control, by cross-entropy.

In one process, or in several (varc/training/finetune_files.py). A step's batch, its negative labels and its dropped
labels do not depend on how many processes or micro-batches share it.
"""

import copy
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from varc.costs.memory import finetune_bytes, has_reference, labels_per_image
from varc.device import gpu_memory, products_in
from varc.errors import InputError
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.training.cca import cca_loss, draw_labels, empty_cache, reference_log_likelihood
from varc.training.discriminative import check_negatives, discriminative_loss, draw_others, labels_of
from varc.training.loop import Checkpoint, Curve, fingerprint, optimise
from varc.training.selection import Selection
from varc.training.validation import Validation, measured, place, top1

Tokens = NDArray[np.uint16]


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
    checkpoint: Checkpoint | None = None,
    report: Callable[[str], None] = print,
) -> tuple[VAR, Curve]:
    """Fine-tunes `var`, in place, on tokens (S, N, L) with labels (N,); returns it in eval mode, and the curve.

    settings: steps, batch_size, lr, accumulate (micro-batches per step and process), precision (float32, tf32, or
    bf16 by autocast); beta and lambda for CCA; beta, negatives and gen for the discriminative loss; without them the
    loss is cross-entropy. With a validation set the weights of the step with the best accuracy are returned, of several
    the last one; step 0 takes part. Of several processes all validate, and the first one returns these weights.

    Raises InputError for a batch_size that accumulate times the processes does not divide, for more negatives than
    there are other classes, for a step that is planned to take more memory than the GPU has, and for a loss that is not
    finite.
    """
    check_negatives(settings.get("negatives", 0), len(np.unique(labels)))
    check_memory(var.config, settings, settings["batch_size"] // number_of_parts(settings), device)
    made_from = made_from_digest(var, quantizer, tokens, labels, settings, seed, validation) if checkpoint else ""
    var = var.to(device)
    tuning = prepare(var, quantizer, tokens.shape[:2], settings, device)
    measure = measured(var, quantizer, validation, device, top1, settings["precision"])
    selection = Selection(var, settings["steps"], measure=measure, keeps=place()[0] == 0)
    start = {"step": 0, **selection.after({"step": 0})}
    with products_in(settings["precision"]):
        curve = optimise(
            var.parameters(),
            partial(step_losses, tuning, tokens, labels, settings, seed),
            steps=settings["steps"],
            lr=settings["lr"],
            report=report,
            after=selection.after,
            checkpoint=checkpoint,
            state=selection.state(made_from),
        )
    selection.finish(report)
    return var.eval().requires_grad_(False), [start, *curve]


def number_of_parts(settings: dict[str, Any]) -> int:
    """How many micro-batches a step's batch makes in all processes. Raises InputError where they would not be equal."""
    processes = place()[1]
    parts = settings["accumulate"] * processes
    if settings["batch_size"] % parts:
        raise InputError(
            f"batch_size {settings['batch_size']} is no multiple of accumulate {settings['accumulate']} "
            f"times {processes} processes; change one of them"
        )
    return parts


class Tuning(NamedTuple):
    """What every micro-batch of a fine-tuning goes through, in this process."""

    model: nn.Module  # the VAR that is tuned; with several processes, wrapped by what averages their gradients
    reference: VAR | None  # its frozen start, for CCA
    cache: Tensor | None  # of what the reference gave, see empty_cache
    quantizer: MultiScaleQuantizer
    amp: torch.autocast
    device: torch.device
    unconditional: int  # its class_id


def prepare(
    var: VAR, quantizer: MultiScaleQuantizer, size: tuple[int, ...], settings: dict[str, Any], device: torch.device
) -> Tuning:
    """Makes `var`, on the device, ready to be tuned on (samples, images) tokens; its reference is a copy."""
    reference = copy.deepcopy(var).eval().requires_grad_(False) if has_reference(settings) else None
    var = var.train().requires_grad_(True)
    samples, images = size
    return Tuning(
        model=distributed(var) if place()[1] > 1 else var,
        reference=reference,
        cache=empty_cache(samples, images, var.config.num_classes + 1),
        quantizer=quantizer,
        amp=torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"),
        device=device,
        unconditional=var.config.num_classes,
    )


def distributed(var: VAR) -> nn.Module:
    """The model of one of several processes. Its gradients lie in the buffers that are summed: no second copy."""
    return DistributedDataParallel(var, broadcast_buffers=False, gradient_as_bucket_view=True)


def check_memory(config: VARConfig, settings: dict[str, Any], images: int, device: torch.device) -> None:
    """Raises InputError where a step with so many images at a time is planned to take more than the GPU has."""
    sequences, reference = labels_per_image(settings) * images, has_reference(settings)
    need = finetune_bytes(config, sequences, settings["precision"], reference, config.num_classes)
    has = gpu_memory(device)
    if has is not None and need > has:
        raise InputError(
            f"accumulate {settings['accumulate']}, precision {settings['precision']}: {images} images at a time take "
            f"{need / 2**30:.1f} GiB, and the GPU has {has / 2**30:.1f}; raise accumulate, or take precision bf16"
        )


class Batch(NamedTuple):
    """A batch, or a part of one: positions of images and samples, labels, negative labels; see draw_labels and
    draw_others, by which an image has several."""

    image: NDArray[np.int64]  # (B,)
    sample: NDArray[np.int64]  # (B,)
    label: NDArray[np.int64]  # (B,)
    negative: NDArray[np.int64]  # (B,), or (B, K)
    contrast: NDArray[np.bool_]  # (B,)


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
    if count := settings.get("negatives"):
        others = draw_others(labels[image], np.unique(labels), count, rng)
        return Batch(image, sample, labels[image], others, np.ones(size, bool))
    return Batch(image, sample, *draw_labels(labels[image], unconditional, rng))


def step_losses(
    tuning: Tuning, tokens: Tokens, labels: NDArray[np.int64], settings: dict[str, Any], seed: int, step: int
) -> Iterator[dict[str, Tensor]]:
    """The losses of this process's micro-batches of a step, each its share of the mean over the process's part of the
    batch; see optimise."""
    batch = draw_batch(tokens, labels, tuning.unconditional, step, settings, seed)
    share = max(batch.contrast.mean(), 1 / len(batch.contrast))
    for part in own_parts(batch, number_of_parts(settings)):
        values = part_losses(tuning, part, tokens, settings, share)
        yield {name: value / settings["accumulate"] for name, value in values.items()}


def own_parts(batch: Batch, parts: int) -> Iterator[Batch]:
    """This process's micro-batches: of the equal parts of a batch one for each process in turn."""
    rank, processes = place()
    for i in range(rank, parts, processes):
        rows = np.array_split(np.arange(len(batch.image)), parts)[i]
        yield Batch._make(values[rows] for values in batch)


def part_losses(
    tuning: Tuning, part: Batch, tokens: Tokens, settings: dict[str, Any], share: float
) -> dict[str, Tensor]:
    """The losses of a part of a batch of tokens (S, N, L), by any of the ways; share: see cca_part."""
    targets = torch.from_numpy(tokens[part.sample, part.image].astype(np.int64)).to(tuning.device)  # (B, L)
    with torch.no_grad():
        teacher_input = tuning.quantizer.teacher_input(targets)  # (B, L - p_0^2, Cvae)
    if "negatives" in settings:
        return discriminative_part(tuning, part, targets, teacher_input, settings)
    if tuning.reference is None:
        return cross_entropy_part(tuning, part, targets, teacher_input)
    return cca_part(tuning, tuning.reference, part, targets, teacher_input, settings, share)


def cross_entropy_part(tuning: Tuning, part: Batch, targets: Tensor, teacher_input: Tensor) -> dict[str, Tensor]:
    """The loss of a part of a batch with tokens `targets` (B, L), nats per token."""
    with tuning.amp:
        logits = tuning.model(torch.from_numpy(part.label).to(targets.device), teacher_input)  # (B, L, V)
    return {"loss": F.cross_entropy(logits.flatten(0, 1), targets.flatten())}


def discriminative_part(
    tuning: Tuning, part: Batch, targets: Tensor, teacher_input: Tensor, settings: dict[str, Any]
) -> dict[str, Tensor]:
    """The discriminative loss of a part of a batch with tokens `targets` (B, L), and its two terms."""
    rows, length = 1 + settings["negatives"], targets.shape[1]
    label = labels_of(part.label, part.negative).to(targets.device)  # (rows B,)
    targets, teacher_input = targets.repeat(rows, 1), teacher_input.repeat(rows, 1, 1)  # (rows B, ...)
    found = log_likelihood(tuning.model, targets, teacher_input, label, tuning.amp).view(rows, -1)
    return discriminative_loss(found, length, settings["beta"], settings["gen"])


def cca_part(
    tuning: Tuning,
    reference: VAR,
    part: Batch,
    targets: Tensor,
    teacher_input: Tensor,
    settings: dict[str, Any],
    share: float,
) -> dict[str, Tensor]:
    """CCA's loss of a part of a batch with tokens `targets` (B, L), and its mean log-ratios, nats per image.

    share: of true negatives in the whole batch, so that the means of the parts average to the batch's.
    """
    device, amp = targets.device, tuning.amp
    label = torch.from_numpy(np.concatenate([part.label, part.negative])).to(device)  # (2 B,)
    targets, teacher_input = targets.repeat(2, 1), teacher_input.repeat(2, 1, 1)  # (2 B, ...)

    def of_reference(missing: Tensor) -> Tensor:
        rows = missing.to(device)
        with torch.no_grad():
            return log_likelihood(reference, targets[rows], teacher_input[rows], label[rows], amp).cpu()

    keys = (*(torch.from_numpy(np.tile(key, 2)) for key in (part.sample, part.image)), label.cpu())  # each (2 B,)
    expected = reference_log_likelihood(tuning.cache, keys, of_reference).to(device)  # before the graph takes memory
    gap, negative_gap = (log_likelihood(tuning.model, targets, teacher_input, label, amp) - expected).chunk(2)
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


@lru_cache(maxsize=2)
def shuffled(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the images in an epoch."""
    return np.random.default_rng([seed, epoch, 0]).permutation(images)


def made_from_digest(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: Tokens,
    labels: NDArray[np.int64],
    settings: dict[str, Any],
    seed: int,
    validation: Validation | None,
) -> str:
    """The fingerprint of a fine-tuning."""
    arrays = [tokens, labels, *(validation[:3] if validation else ())]
    data = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    facts = [settings, seed, validation and validation.every]
    return fingerprint(facts, [*var.parameters(), *quantizer.parameters(), *data])
