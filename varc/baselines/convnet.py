"""A small convolutional network: the discriminative baseline on small images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.models.weights import Card, load_model
from varc.training.loop import optimise

BATCH = 64
PREDICTED = 1024  # images that are classified at a time


@dataclass(frozen=True)
class ConvNetConfig:
    """The shape of the network; class_ids are 0 to classes - 1."""

    image_size: int
    classes: int
    width: int = 32
    features: int = 128


class ConvNet(nn.Module):
    """Two convolutions and a hidden layer before a linear head: (B, 3, H, W) in [-1, 1] to logits (B, classes)."""

    def __init__(self, config: ConvNetConfig):
        super().__init__()
        self.config = config
        side, width = config.image_size // 4, config.width
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.hidden = nn.Linear(2 * width * side * side, config.features)
        self.head = nn.Linear(config.features, config.classes)

    def features(self, images: Tensor) -> Tensor:
        """What the head sees: (B, features)."""
        h = F.max_pool2d(F.relu(self.conv1(images)), 2)
        h = F.max_pool2d(F.relu(self.conv2(h)), 2)
        return F.relu(self.hidden(h.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def convnet(config: ConvNetConfig, seed: int) -> ConvNet:
    """A network with random weights, seeded."""
    torch.manual_seed(seed)
    return ConvNet(config)


def train_convnet(
    net: ConvNet,
    parameters: Sequence[Tensor],
    images: Tensor,
    labels: NDArray[np.int64],
    classes: Sequence[int],
    steps: int,
    lr: float,
    seed: int,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Cross-entropy over `classes` only, on images (N, 3, H, W) with labels (N,), in place."""
    generator = torch.Generator().manual_seed(seed)
    position = torch.from_numpy(np.searchsorted(np.array(classes), labels)).to(images.device)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        image = torch.randint(len(images), (BATCH,), generator=generator)
        yield {"loss": F.cross_entropy(net(images[image])[:, list(classes)], position[image])}

    optimise(parameters, losses, steps=steps, lr=lr, report=report)


@torch.inference_mode()
def convnet_predictions(net: ConvNet, images: Tensor, classes: Sequence[int]) -> NDArray[np.int64]:
    """Predictions (N,) among some classes."""
    best = [net(batch)[:, list(classes)].argmax(1).cpu() for batch in images.split(PREDICTED)]
    return np.array(classes)[torch.cat(best).numpy()]


def load_convnet(path: str | Path) -> tuple[ConvNet, Card]:
    """A network that was trained here, in eval mode, and its card. Raises InputError as load_model does."""
    return load_model(path, ConvNet, ConvNetConfig)


def cam_layer(net: ConvNet) -> nn.Module:
    """Where GradCAM looks: the last convolution's output (B, 2 width, H / 2, W / 2)."""
    return net.conv2
