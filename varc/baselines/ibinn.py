"""IB-INN, a normalising flow with a Gaussian per class in its latent space (Ardizzone et al. 2020, arXiv 2001.06448).

The flow maps an image x to z of as many numbers; z of class y is normal around mu_y, with unit covariance. So
log p(x|y) = log N(z; mu_y, 1) + log |det dz/dx| is exact, and one pass gives it for all classes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from FrEIA.framework import SequenceINN
from FrEIA.modules import AllInOneBlock, Flatten, GLOWCouplingBlock, HaarDownsampling
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.baselines.family import Cost, Earlier, Images, columns, device_of
from varc.baselines.pixels import planes
from varc.baselines.settings.ibinn import Scoring, Shape, Training
from varc.costs.counting import count
from varc.errors import InputError
from varc.training.loop import optimise

CLAMP = 0.7  # a coupling block scales by exp(+-0.7) at most
SEPARATION = 5.0  # between two class means at the start, in standard deviations
BIN = 2 / 255  # between two grey levels in [-1, 1]
BATCH = 256


def convolutions(width: int) -> Callable[[int, int], nn.Module]:
    """What makes the subnets of the blocks on feature maps."""

    def subnet(channels: int, out: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, out, 1),
        )

    return subnet


def layers(width: int) -> Callable[[int, int], nn.Module]:
    """What makes the subnets of the fully connected block."""
    return lambda features, out: nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, out))


def rotate(block: AllInOneBlock) -> None:
    """Gives a block a random rotation for its permutation, from torch's seed: FrEIA's comes from NumPy's."""
    rotation, _ = torch.linalg.qr(torch.randn(block.in_channels, block.in_channels))
    shape = block.w_perm.shape
    block.w_perm = nn.Parameter(rotation.contiguous().reshape(shape), requires_grad=False)
    block.w_perm_inv = nn.Parameter(rotation.T.contiguous().reshape(shape), requires_grad=False)


class Flat(Flatten):
    """FrEIA's, for feature maps in any layout: convolutions may return them with the channels last."""

    def forward(self, x: Sequence[Tensor], c: Any = None, jac: bool = True, rev: bool = False) -> tuple[Any, float]:
        return super().forward([x[0].contiguous()], c, jac, rev)


def flow(shape: Shape) -> SequenceINN:
    """The invertible network. Raises InputError where the image cannot be halved as often as `blocks` says."""
    if shape.image_size % 2 ** len(shape.blocks):
        raise InputError(
            f"blocks: {len(shape.blocks)} levels halve the image as often, but {shape.image_size} pixels are not a "
            f"multiple of {2 ** len(shape.blocks)}; give fewer"
        )
    inn = SequenceINN(shape.channels, shape.image_size, shape.image_size)
    for blocks in shape.blocks:
        inn.append(HaarDownsampling)
        for _ in range(blocks):
            inn.append(AllInOneBlock, subnet_constructor=convolutions(shape.width), affine_clamping=CLAMP)
    inn.append(Flat)
    inn.append(GLOWCouplingBlock, subnet_constructor=layers(shape.dense), clamp=CLAMP)
    for module in inn:
        if isinstance(module, AllInOneBlock):
            rotate(module)
    return inn


def log_normal(z: Tensor, means: Tensor) -> Tensor:
    """log N(z; mu_y, 1) in nats (B, classes), float64, of z (B, D) around means (classes, D)."""
    z, means = z.double(), means.double()
    squares = z.square().sum(1, keepdim=True) - 2 * z @ means.T + means.square().sum(1)
    return -(squares + z.shape[1] * math.log(2 * math.pi)) / 2


class IBINN(nn.Module):
    """A flow and the means (classes, D) in its latent space."""

    def __init__(self, shape: Shape, classes: int):
        super().__init__()
        size = shape.channels * shape.image_size**2
        self.channels = shape.channels
        self.flow = flow(shape)
        self.means = nn.Parameter(torch.randn(classes, size) * SEPARATION / (2 * size) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """log p(x|y) in nats (B, classes), float64: the density of pixels x (B, channels, H, W) in [-1, 1]."""
        z, log_det = self.flow(x)
        return log_normal(z, self.means) + log_det.double()[:, None]


def build(shape: Shape, classes: int) -> IBINN:
    """A flow close to a rotation, and random means."""
    return IBINN(shape, classes)


def losses_of(log_p: Tensor, target: Tensor, dimensions: int, beta: float) -> dict[str, Tensor]:
    """The loss from log p(x|y) (B, C) and the true columns (B,).

    2 (L_X + beta L_Y) / (1 + beta), as the authors weigh it: L_X = -log p(x) per dimension, under the mixture with
    equal weights; L_Y = -log p(y|x) by Bayes' rule. Both in nats.
    """
    image = -(log_p.logsumexp(1).mean() - math.log(log_p.shape[1])) / dimensions
    label = F.cross_entropy(log_p, target)
    return {"loss": 2 * (image + beta * label) / (1 + beta), "image": image.detach(), "label": label.detach()}


def train(
    model: IBINN,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """The information-bottleneck loss among the classes that have images, on pixels with noise.

    The noise is that of dequantisation, uniform over a grey level, and a normal one of sigma.
    """
    device, generator = device_of(model), torch.Generator().manual_seed(seed)
    pixels = planes(images, model.channels)
    classes, target = (torch.from_numpy(part) for part in np.unique(labels, return_inverse=True))

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = torch.randint(len(pixels), (training.batch_size,), generator=generator)
        x = pixels[chosen]
        x = x + BIN * (torch.rand(x.shape, generator=generator) - 0.5)
        x = x + training.sigma * torch.randn(x.shape, generator=generator)
        log_p = model(x.to(device))[:, classes.to(device)]
        yield losses_of(log_p, target[chosen].to(device), pixels[0].numel(), training.beta)

    trained = [p for p in model.parameters() if p.requires_grad]
    optimise(trained, losses, steps=training.steps, lr=training.lr, report=report)


@torch.inference_mode()
def score(
    model: IBINN, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """log p(x|y) in nats (N, M) of the candidates, without noise on the pixels."""
    pixels, device = planes(images.pixels, model.channels), device_of(model)

    def of_batch(batch: Tensor) -> NDArray[np.float64]:
        return model(batch.to(device)).cpu().numpy()

    scores = np.concatenate([images.keep(partial(of_batch, batch)) for batch in pixels.split(BATCH)])
    return columns(scores, np.arange(scores.shape[1]), candidates)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """One pass for all classes."""
    x = torch.zeros(1, shape.channels, shape.image_size, shape.image_size)
    return Cost(1, *count(build(shape, classes), x))
