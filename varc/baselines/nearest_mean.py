"""The nearest class mean, a sanity row: how far does the average picture of each class go?"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.baselines.discriminative import logits, one_pass
from varc.baselines.family import Cost, Earlier, Images
from varc.baselines.settings.nearest_mean import Scoring, Shape, Training
from varc.data.tensors import to_input

FAR = 1e4  # a mean that no image is near


class NearestMean(nn.Module):
    """The mean image (classes, pixels) of each class."""

    def __init__(self, pixels: int, classes: int):
        super().__init__()
        self.means = nn.Buffer(torch.zeros(classes, pixels))

    def forward(self, images: Tensor) -> Tensor:
        """Minus half the squared distance to each mean (B, classes), up to a constant of the image."""
        return images.flatten(1) @ self.means.T - self.means.square().sum(1) / 2


def build(shape: Shape, classes: int) -> NearestMean:
    """Means of 0."""
    return NearestMean(3 * shape.image_size**2, classes)


def train(
    model: NearestMean,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Takes the means of the classes that have images; the others get one that is far from everything."""
    model.means.fill_(FAR)
    for class_id in np.unique(labels):
        model.means[class_id] = to_input(images[labels == class_id]).mean(0).flatten()


def score(
    model: NearestMean, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """Minus half the squared distance (N, M) to each candidate's mean, up to a constant of the image."""
    return logits(model, images, candidates)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """One product with all means."""
    return one_pass(build(shape, classes), shape.image_size)
