"""k nearest neighbours, the example of a family: it shows what a file here needs, and nothing else."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from varc.baselines.family import Cost, Earlier, Images, columns
from varc.baselines.settings.knn import Scoring, Shape, Training
from varc.errors import InputError


class KNN(nn.Module):
    """Training images (memory, pixels) and their labels (memory,); -1 where it remembers none."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.images = nn.Buffer(torch.zeros(shape.memory, 3 * shape.image_size**2, dtype=torch.uint8))
        self.labels = nn.Buffer(torch.full((shape.memory,), -1))


def build(shape: Shape, classes: int) -> KNN:
    """An empty memory."""
    return KNN(shape)


def train(
    model: KNN,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Remembers a random choice of the training images, and nothing else."""
    chosen = np.random.default_rng(seed).permutation(len(images))[: len(model.labels)]
    model.images[: len(chosen)] = torch.from_numpy(images[chosen].reshape(len(chosen), -1))
    model.labels.fill_(-1)[: len(chosen)] = torch.from_numpy(labels[chosen])


def score(
    model: KNN, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """The share of the neighbours' votes (N, M) for each candidate. Raises InputError for a class never seen."""
    held = model.labels >= 0
    if scoring.k > held.sum():
        raise InputError(f"k: {scoring.k}, but the memory holds {held.sum()} images; lower it")
    neighbours = KNeighborsClassifier(scoring.k, weights="distance")
    neighbours.fit(model.images[held].cpu().numpy().astype(np.float32), model.labels[held].cpu().numpy())
    votes = neighbours.predict_proba(images.pixels.reshape(len(images.pixels), -1).astype(np.float32))
    return columns(votes, neighbours.classes_, candidates)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """One multiply-add per number that it can remember."""
    return Cost(1, shape.memory * 3 * shape.image_size**2 / 1e9)
