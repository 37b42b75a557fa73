"""Logistic regression on pixels, a sanity row (scikit-learn)."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from varc.baselines.discriminative import logits, one_pass
from varc.baselines.family import Cost, Earlier, Images
from varc.baselines.settings.logistic_regression import Scoring, Shape, Training
from varc.data.tensors import to_input
from varc.errors import InputError


class Linear(nn.Module):
    """One linear layer on all pixels: (B, 3, H, W) in [-1, 1] to logits (B, classes)."""

    def __init__(self, pixels: int, classes: int):
        super().__init__()
        self.linear = nn.Linear(pixels, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


def build(shape: Shape, classes: int) -> Linear:
    """A layer of random weights."""
    return Linear(3 * shape.image_size**2, classes)


def train(
    model: Linear,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Fits the layer by L-BFGS; classes without images get the bias of an impossible class.

    Raises InputError where all images are of one class.
    """
    chosen = np.random.default_rng(seed).permutation(len(images))[: training.images]
    if len(set(labels[chosen].tolist())) < 2:
        raise InputError(f"images: {len(chosen)} of the training images are of one class; it takes two or more")
    fit = LogisticRegression(C=training.c, max_iter=training.steps)
    fit.fit(to_input(images[chosen]).flatten(1).numpy(), labels[chosen])
    report(f"{int(fit.n_iter_[0])} iterations on {len(chosen)} images")
    linear = model.linear
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.fill_(-1e9)
        linear.weight[fit.classes_] = torch.from_numpy(per_class(fit.coef_)).to(linear.weight)
        linear.bias[fit.classes_] = torch.from_numpy(per_class(fit.intercept_)).to(linear.bias)


def per_class(fitted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients (classes, ...) as scikit-learn has them; of two classes it keeps one row, their difference."""
    return np.concatenate([-fitted, fitted]) / 2 if len(fitted) == 1 else fitted


def score(
    model: Linear, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """The logits (N, M) of the candidates."""
    return logits(model, images, candidates)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """One pass for all classes."""
    return one_pass(build(shape, classes), shape.image_size)
