"""Training of a multi-scale VQ-VAE on small images."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.training.loop import Checkpoint, Curve, State, fingerprint, optimise

COMMITMENT = 0.25
UNIT_SCALE = 0.1
EMA_DECAY = 0.98
DEAD_BELOW = 0.1  # expected uses per step, under which a code is seeded anew


def train_vqvae(
    config: VQVAEConfig,
    images: Tensor,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    report: Callable[[str], None] = print,
    checkpoint: Checkpoint | None = None,
) -> tuple[VQVAE, Curve]:
    """Trains a VQ-VAE on images (N, 3, H, W) in [-1, 1]; returns it in eval mode, and the training curve.

    Reconstruction by mean squared error with a straight-through gradient. The codebook is a moving average of what
    it quantises (van den Oord et al. 2017, appendix A.1); unused codes are seeded anew. The first 5 % of the steps
    run without the quantiser, so that the first codes describe features that mean something.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = VQVAE(config).to(images.device).train()
    codebook = model.quantize.embedding.weight.requires_grad_(False)
    counts, sums = codebook.new_zeros(len(codebook)), torch.zeros_like(codebook)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        x = images[torch.randint(len(images), (batch_size,), generator=generator)]
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
        made_from = fingerprint([steps, batch_size, lr, seed], [*model.parameters(), *model.buffers(), images])
    state = State(made_from, [codebook, counts, sums, *model.buffers()], [generator])
    curve = optimise(trained, losses, steps=steps, lr=lr, report=report, checkpoint=checkpoint, state=state)
    return model.eval(), curve


@torch.inference_mode()
def feature_std(model: VQVAE, images: Tensor, batch_size: int) -> float:
    """The standard deviation of all numbers in the features of the images: the unit of sigma: {spread: ...}."""
    return torch.cat([model.features(batch) for batch in images.split(batch_size)]).std().item()


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
