"""DC-MF: a classifier by the error of a MeanFlow model's velocity (Geng et al. 2025, arXiv 2505.13447).

On the straight path z_t = (1 - t) x + t noise the velocity is v = noise - x. The model learns the average velocity
u(z, r, t) between the times r and t; for r = t it is the flow-matching model of rectified flows.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from diffusers import DiTTransformer2DModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from varc.baselines.dit import dit, known_draws, mean_errors, pass_cost
from varc.baselines.family import Cost, Earlier, Images, device_of
from varc.baselines.pixels import planes
from varc.baselines.settings.meanflow import Scoring, Shape, Training
from varc.training.loop import optimise

TIME_SCALE = 10.0  # of times in [0, 1], for the transformer's sinusoids: with 1000, du/dt is mostly their noise
EVEN = 1e-3  # keeps the weight of a small error finite
AVERAGED = 0.25  # of the training pairs have r < t, as in the paper
STARTS = {"instant": 1.0, "average": 0.5}  # r / t


class MeanFlow(nn.Module):
    """u(z, r, t): the transformer sees t as its time, and t - r as one more channel."""

    extra_channels = 1

    def __init__(self, transformer: DiTTransformer2DModel):
        super().__init__()
        self.transformer = transformer

    def forward(self, z: Tensor, t: Tensor, labels: Tensor, r: Tensor | None = None) -> Tensor:
        """The velocity (B, C, H, W) at z, averaged between times r and t, both (B,); r = t where it is not given."""
        length = torch.zeros_like(t) if r is None else t - r
        plane = length.to(z.dtype).view(-1, 1, 1, 1) * torch.ones_like(z[:, :1])
        x = torch.cat([z, plane], dim=1)
        return self.transformer(x, t * TIME_SCALE, class_labels=labels, return_dict=False)[0]


def transformer(shape: Shape, depth: int, classes: int) -> DiTTransformer2DModel:
    """The transformer, of another depth perhaps."""
    sizes = {"patch_size": shape.patch_size, "width": shape.width, "heads": shape.heads, "classes": classes}
    channels = shape.channels
    return dit(side=shape.image_size, channels=channels + 1, out_channels=channels, depth=depth, **sizes)


def build(shape: Shape, classes: int) -> MeanFlow:
    """A model of random weights."""
    return MeanFlow(transformer(shape, shape.depth, classes))


def velocity_and_target(
    model: Callable[..., Tensor], z: Tensor, r: Tensor, t: Tensor, v: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """u(z, r, t), and what it should be: v - (t - r) du/dt along the path, without a gradient (MeanFlow's identity)."""

    def along(z: Tensor, r: Tensor, t: Tensor) -> Tensor:
        return model(z, t, labels, r)

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels know no forward derivative
        u, change = torch.func.jvp(along, (z, r, t), (v, torch.zeros_like(r), torch.ones_like(t)))[:2]
    return u, (v - (t - r).view(-1, 1, 1, 1) * change).detach()


def draw_times(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(r, t), each (count,): logit-normal (-0.4, 1) as in the paper; r = t but for a share of AVERAGED."""
    times = torch.sigmoid(torch.randn(2, count, generator=generator) - 0.4)
    low, high = times.amin(0), times.amax(0)
    averaged = torch.rand(count, generator=generator) < AVERAGED
    return torch.where(averaged, low, high), high


def train(
    model: MeanFlow,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Squared error of u against MeanFlow's target, each image's weighted down by its size (adaptive weight, p = 1)."""
    device, generator = device_of(model), torch.Generator().manual_seed(seed)
    data = planes(images, model.transformer.config.out_channels)
    of = torch.from_numpy(labels)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = torch.randint(len(data), (training.batch_size,), generator=generator)
        r, t = (part.to(device) for part in draw_times(training.batch_size, generator))
        x = data[chosen].to(device)
        noise = torch.randn(x.shape, generator=generator).to(device)
        z = (1 - t.view(-1, 1, 1, 1)) * x + t.view(-1, 1, 1, 1) * noise
        u, target = velocity_and_target(model, z, r, t, noise - x, of[chosen].to(device))
        error = (u - target).square().flatten(1).mean(1)
        yield {"loss": (error / (error.detach() + EVEN)).mean(), "error": error.mean()}

    model.eval()  # no dropout of labels: nothing is guided here
    optimise(list(model.parameters()), losses, steps=training.steps, lr=training.lr, report=report)


def score(
    model: MeanFlow, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """Minus the mean squared error (N, M) of the velocity, per number and draw."""

    def errors(latents: Tensor, t: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        at = t.view(-1, 1, 1, 1)
        z, v = (1 - at) * latents + at * noise, noise - latents
        u, target = velocity_and_target(model, z, start * t, t, v, labels) if start < 1 else (model(z, t, labels), v)
        return (u - target).double().square().flatten(1).mean(1)

    start = STARTS[scoring.interval]
    latents = planes(images.pixels, model.transformer.config.out_channels)
    ids = [str(image_id) for image_id in images.image_ids]
    device, keep = device_of(model), images.keep
    return mean_errors(errors, latents, ids, candidates, scoring, images.seed, earlier, device, keep)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """One pass per candidate and draw that is new; two for an average velocity, whose derivative costs a second."""

    def module(depth: int) -> tuple[DiTTransformer2DModel, nn.Module]:
        small = transformer(shape, depth, 1)
        return small, MeanFlow(small)

    one = pass_cost(module, shape.depth, shape.image_size)
    draws = scoring.draws - known_draws(scoring, earlier)
    passes = candidates * draws * (2 if STARTS[scoring.interval] < 1 else 1)
    return Cost(passes, passes * one.gflops, passes * one.attention_gflops)
