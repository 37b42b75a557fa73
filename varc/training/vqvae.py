"""Training of a multi-scale VQ-VAE on small images."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from varc.data.tensors import to_input
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.training.augment import NUMBERS, Augment, changed
from varc.training.loop import Checkpoint, Curve, fingerprint, optimise
from varc.training.selection import Figures, Measure, Selection

COMMITMENT = 0.25
UNIT_SCALE = 0.1
EMA_DECAY = 0.98
DEAD_BELOW = 0.1  # expected uses per step, under which a code is seeded anew


class Pictures(NamedTuple):
    """Images that are not trained on, whose reconstruction is measured every so many steps."""

    images: NDArray[np.uint8]  # (N, H, W, 3)
    every: int


def train_vqvae(
    config: VQVAEConfig,
    images: NDArray[np.uint8],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    device: torch.device,
    ema: float | None = None,
    augment: Augment | None = None,
    validation: Pictures | None = None,
    report: Callable[[str], None] = print,
    checkpoint: Checkpoint | None = None,
) -> tuple[VQVAE, Curve]:
    """Trains a VQ-VAE on images (N, H, W, 3); returns it in eval mode, and the training curve.

    Reconstruction by mean squared error with a straight-through gradient. The codebook is a moving average of what
    it quantises (van den Oord et al. 2017, appendix A.1); unused codes are seeded anew. The first 5 % of the steps
    run without the quantiser, so that the first codes describe features that mean something.

    ema: decay of a moving average of the weights, which is validated and returned, with the codebook as it is. augment:
    every batch is changed, anew each time. With a validation set the weights of the step with the smallest error are
    returned.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = VQVAE(config).to(device).train()
    codebook = model.quantize.embedding.weight.requires_grad_(False)
    counts, sums = codebook.new_zeros(len(codebook)), torch.zeros_like(codebook)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = torch.randint(len(images), (batch_size,), generator=generator)
        x = to_input(images[chosen.numpy()]).to(device)
        if augment:
            x = changed(x, (2 * torch.rand(batch_size, NUMBERS, generator=generator) - 1).to(device), augment)
        f = model.features(x)
        if step < steps // 20:
            reconstruction = F.mse_loss(model.decoder(model.post_quant_conv(f)), x)
            yield {"loss": reconstruction + UNIT_SCALE * off_unit_scale(f), "reconstruction": reconstruction}
            return
        f_hat, matching, z, indices = partial_sums(model.quantize, f.detach())
        update_codebook(codebook, counts, sums, z, indices, generator)
        commitment = F.mse_loss(f, f_hat.detach())
        straight_through = f + (f_hat - f).detach()
        reconstruction = F.mse_loss(model.decoder(model.post_quant_conv(straight_through)), x)
        loss = reconstruction + matching + COMMITMENT * commitment + UNIT_SCALE * off_unit_scale(f)
        yield {"loss": loss, "reconstruction": reconstruction, "commitment": commitment}

    trained = [p for p in model.parameters() if p.requires_grad]
    made_from = ""
    if checkpoint:
        facts = [steps, batch_size, lr, seed, ema, augment, validation and validation.every]
        data = [torch.from_numpy(np.ascontiguousarray(array)) for array in (images, *(validation or ())[:1])]
        made_from = fingerprint(facts, [*model.parameters(), *model.buffers(), *data])
    measure = None
    if validation:
        error = partial(reconstruction_error, model, validation.images, batch_size, device)
        measure = Measure(lambda: {"validation_reconstruction": error()}, validation.every, least_error)
    selection = Selection(model, steps, ema=ema, measure=measure)
    curve = optimise(
        trained,
        losses,
        steps=steps,
        lr=lr,
        report=report,
        after=selection.after,
        checkpoint=checkpoint,
        state=selection.state(made_from, [codebook, counts, sums, *model.buffers()], [generator]),
    )
    selection.finish(report)
    return model.eval(), curve


def least_error(figures: Figures) -> tuple[float, ...]:
    """For the smallest error of reconstruction."""
    return (-figures["validation_reconstruction"],)


@torch.inference_mode()
def reconstruction_error(model: VQVAE, images: NDArray[np.uint8], batch_size: int, device: torch.device) -> float:
    """The mean squared error, of numbers in [-1, 1], of images (N, H, W, 3) that go through tokens and back."""
    total = 0.0
    for x in inputs(images, batch_size, device):
        picture = model.decode(model.quantize.dequantize(model.quantize.quantize(model.features(x))))
        total += (picture - x).square().sum(dtype=torch.float64).item()
    return total / images.size


@torch.inference_mode()
def feature_std(model: VQVAE, images: NDArray[np.uint8], batch_size: int, device: torch.device) -> float:
    """The standard deviation of all numbers in the features of the images: the unit of sigma: {spread: ...}."""
    return torch.cat([model.features(x) for x in inputs(images, batch_size, device)]).std().item()


def inputs(images: NDArray[np.uint8], batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Images (N, H, W, 3) as the model takes them, in batches."""
    for first in range(0, len(images), batch_size):
        yield to_input(images[first : first + batch_size]).to(device)


def off_unit_scale(f: Tensor) -> Tensor:
    """How far the features' mean square is from 1. Without this term they can grow faster than the codebook follows."""
    return (f.square().mean() - 1).square()


def partial_sums(quantizer: MultiScaleQuantizer, f: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """f_hat, the mean over scales of its squared distance to f (it trains Phi), all vectors quantised, their codes."""
    f_hat, distances, vectors, codes = torch.zeros_like(f), [], [], []
    for z, indices, h in quantizer.residual_steps(f):
        f_hat = f_hat + h
        distances.append(F.mse_loss(f_hat, f))
        vectors.append(z.detach())
        codes.append(indices.flatten())
    return f_hat, torch.stack(distances).mean(), torch.cat(vectors), torch.cat(codes)


@torch.no_grad()
def update_codebook(
    codebook: Tensor, counts: Tensor, sums: Tensor, z: Tensor, indices: Tensor, generator: torch.Generator
) -> None:
    """Moves the codes (V, C), in place, to the moving average of the vectors z (N, C) that they were nearest to.

    counts (V,) and sums (V, C) are the averages' state. Dead codes restart at random vectors of the batch.
    """
    counts.lerp_(torch.bincount(indices, minlength=len(codebook)).float(), 1 - EMA_DECAY)
    sums.lerp_(torch.zeros_like(sums).index_add_(0, indices, z), 1 - EMA_DECAY)
    dead = (counts < DEAD_BELOW).nonzero().flatten()
    chosen = torch.randint(len(z), (len(dead),), generator=generator)
    sums[dead], counts[dead] = z[chosen], 1.0
    codebook.copy_(sums / counts[:, None])
