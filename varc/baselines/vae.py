"""A VAE per class as a generative classifier (van de Ven et al. 2021, arXiv 2104.10093).

Each class has a small VAE of its own, trained on its images alone, so that learning a new class changes nothing that
an old one uses. The score of a class is its VAE's importance-weighted log-likelihood (Burda et al. 2016). The weights
of all classes lie in common tensors (classes, in, out), and all are trained at once, each on its own images.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.baselines.family import Cost, Earlier, Images, columns, device_of
from varc.baselines.pixels import planes
from varc.baselines.settings.vae import Scoring, Shape, Training
from varc.costs.counting import count
from varc.keep import Keep
from varc.seeded import image_generator
from varc.training.loop import optimise

BATCH = 64
PURPOSE = "vae"  # of an image's noise
WEIGHTS, TRAINING = 0, 1  # what else a class's random numbers are for
LAYERS = 3  # of the encoder, and as many of the decoder
APART = True


class VAEs(nn.Module):
    """One VAE per class: weights (classes, in, out) and biases (classes, 1, out) of each layer, the encoder's first.

    The first weights of a class depend on torch's seed and its class_id alone, not on how many classes there are.
    """

    def __init__(self, shape: Shape, classes: int):
        super().__init__()
        self.shape = shape
        size = shape.channels * shape.image_size**2
        sides = ((size, shape.hidden, shape.hidden, 2 * shape.latent), (shape.latent, shape.hidden, shape.hidden, size))
        generators = [class_generator(torch.initial_seed(), class_id, WEIGHTS) for class_id in range(classes)]
        self.layers = nn.ParameterList()
        for inputs, outputs in (pair for side in sides for pair in pairwise(side)):
            drawn = [torch.randn(inputs, outputs, generator=g, device="cpu") for g in generators]
            self.layers.extend([torch.stack(drawn) * inputs**-0.5, torch.zeros(classes, 1, outputs)])

    def of(self, class_ids: Sequence[int]) -> list[Tensor]:
        """Copies of the weights and biases of some classes."""
        return [p.detach()[list(class_ids)] for p in self.layers]

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """The log weights (1, B, n) of images x (B, D) with noise (B, n, latent) under the first class."""
        return log_weights(self.of([0]), x[None], noise[None], self.shape.sigma)


def build(shape: Shape, classes: int) -> VAEs:
    """Random weights."""
    return VAEs(shape, classes)


def class_generator(seed: int, class_id: int, purpose: int) -> torch.Generator:
    """Random numbers of a class's own: WEIGHTS and TRAINING have no stream in common."""
    mixed = np.random.SeedSequence([seed, class_id, purpose]).generate_state(1)
    return torch.Generator().manual_seed(int(mixed[0]))


def layers(parameters: Sequence[Tensor], h: Tensor) -> Tensor:
    """h (C, B, in) through each class's layers, with SiLU between them: (C, B, out)."""
    for i in range(0, 2 * LAYERS, 2):
        h = torch.bmm(F.silu(h) if i else h, parameters[i]) + parameters[i + 1]
    return h


def posterior(parameters: Sequence[Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation (C, B, latent) of q(z|x), of images x (C, B, D)."""
    mean, log_std = layers(parameters[: 2 * LAYERS], x).chunk(2, 2)
    return mean, log_std


def log_pixels(parameters: Sequence[Tensor], x: Tensor, z: Tensor, sigma: float) -> Tensor:
    """log p(x|z) in nats (C, B), float64, of images x (C, B, D) and z (C, B, latent)."""
    errors = (x - layers(parameters[2 * LAYERS :], z)) / sigma
    squares = errors.square().sum(2, dtype=torch.float64)
    return -squares / 2 - x.shape[2] * (math.log(sigma) + math.log(2 * math.pi) / 2)


def log_weights(parameters: Sequence[Tensor], x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """log p(x, z) - log q(z|x) in nats (C, B, n), float64, of images x (C, B, D).

    z = mean + std * noise of q(z|x), with standard normal noise (C, B, n, latent).
    """
    mean, log_std = (part[:, :, None] for part in posterior(parameters, x))
    z = mean + log_std.exp() * noise
    each = x[:, :, None].expand(-1, -1, noise.shape[2], -1)
    pixels = log_pixels(parameters, each.flatten(1, 2), z.flatten(1, 2), sigma).unflatten(1, z.shape[1:3])
    # The constants of log p(z) and log q(z|x) cancel.
    return pixels + ((noise.square() - z.square()) / 2 + log_std).sum(3, dtype=torch.float64)


def negative_bound(parameters: Sequence[Tensor], x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """The loss of each class (C,) in nats per image: KL(q(z|x) || p(z)) - log p(x|z), noise (C, B, latent)."""
    mean, log_std = posterior(parameters, x)
    z = mean + log_std.exp() * noise
    divergence = ((mean.square() + (2 * log_std).exp() - 1) / 2 - log_std).sum(2)
    return (divergence - log_pixels(parameters, x, z, sigma)).mean(1)


def train(
    model: VAEs,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Trains the VAEs of the classes that have images, each on its own; the others stay as they are.

    What a class's VAE becomes depends on its images, its first weights and the seed alone.
    """
    class_ids, device = np.unique(labels).tolist(), device_of(model)
    pixels = planes(images, model.shape.channels).flatten(1)
    own = [pixels[torch.from_numpy(labels == class_id)] for class_id in class_ids]
    generators = [class_generator(seed, class_id, TRAINING) for class_id in class_ids]
    trained = [p.requires_grad_() for p in model.of(class_ids)]

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        size, latent = training.batch_size, model.shape.latent
        x = [p[torch.randint(len(p), (size,), generator=g)] for p, g in zip(own, generators, strict=True)]
        noise = [torch.randn(size, latent, generator=g) for g in generators]
        bound = negative_bound(trained, torch.stack(x).to(device), torch.stack(noise).to(device), model.shape.sigma)
        yield {"loss": bound.sum(), "nats_per_image": bound.mean()}

    # No clipping: the norm is that of all classes, so one would change another's step.
    optimise(trained, losses, steps=training.steps, lr=training.lr, clip=math.inf, report=report)
    with torch.no_grad():
        for whole, part in zip(model.layers, trained, strict=True):
            whole[class_ids] = part


def image_noise(images: Images, samples: int, latent: int) -> Tensor:
    """Standard normal noise (N, samples, latent), the same for all classes; fewer samples are the first of more."""
    drawn = [
        image_generator(images.seed, PURPOSE, image_id).standard_normal((samples, latent), dtype=np.float32)
        for image_id in images.image_ids
    ]
    return torch.from_numpy(np.stack(drawn))


def drawn_before(scoring: Scoring, earlier: Scoring | None) -> int:
    """How many of a stage's samples an earlier one drew: all of its own, unless it drew no fewer."""
    return earlier.samples if earlier and earlier.samples < scoring.samples else 0


@torch.inference_mode()
def log_mean_weights(model: VAEs, x: Tensor, noise: Tensor, class_id: int, keep: Keep) -> NDArray[np.float64]:
    """The log of the mean weight (N,) of images x (N, D) with noise (N, n, latent) under one class."""
    parameters, device = model.of([class_id]), device_of(model)

    def of_batch(first: int) -> NDArray[np.float64]:
        batch, own = (part[None, first : first + BATCH].to(device) for part in (x, noise))
        return log_weights(parameters, batch, own, model.shape.sigma)[0].logsumexp(1).cpu().numpy()

    found = [keep(partial(of_batch, i)) for i in range(0, len(x), BATCH)]
    return np.concatenate([*found, np.empty(0)]) - math.log(noise.shape[1])


def score(
    model: VAEs, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """log p(x|y) in nats (N, M) of the candidates: the log of the mean weight of `samples` z.

    The samples of an earlier stage are the first ones, so only the others are drawn.
    """
    x = planes(images.pixels, model.shape.channels).flatten(1)
    noise = image_noise(images, scoring.samples, model.shape.latent)
    before = drawn_before(scoring, earlier.scoring if earlier else None)
    classes = np.arange(len(model.layers[0]))
    scores = np.full((len(x), len(classes)), np.nan)
    for class_id in range(len(classes)):
        asked = (candidates == class_id).any(1)
        own = x[asked], noise[asked, before:]
        scores[asked, class_id] = log_mean_weights(model, *own, class_id, images.keep)
    found = columns(scores, classes, candidates)
    return found if earlier is None or not before else log_mean(earlier.scores, before, found, scoring.samples)


def log_mean(old: NDArray[np.float64], before: int, new: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """The log of the mean of all weights, from the log of the mean of the first ones and of the others."""
    return np.logaddexp(math.log(before / samples) + old, math.log1p(-before / samples) + new)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """For each candidate, the encoder once and the decoder for each new sample."""
    samples = scoring.samples - drawn_before(scoring, earlier)
    size = shape.channels * shape.image_size**2
    gflops, attention = count(build(shape, 1), torch.zeros(1, size), torch.zeros(1, samples, shape.latent))
    return Cost(candidates * samples, candidates * gflops, candidates * attention)
