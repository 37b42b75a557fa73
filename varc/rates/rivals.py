"""How fast a device is at a rival's stages: on random weights and images, before any training."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import nn

from varc.baselines.family import Earlier, Family, Images, seeded, settings
from varc.planning import Speed
from varc.rates.speed import MOST_DEPTH, busy_neighbours, speed

MOST_CANDIDATES = 8  # that are measured: the cost per pass is the same for more


def measure_stage(
    kind: Family, shape: Any, classes: int, stages: list[dict[str, Any]], candidates: int, device: torch.device
) -> Speed:
    """The speed of the last of these stages.

    Measured on MOST_CANDIDATES of an image at most, and on the first MOST_DEPTH blocks of a transformer.
    """
    if hasattr(shape, "depth"):
        shape = dataclasses.replace(shape, depth=min(shape.depth, MOST_DEPTH))
    candidates = min(candidates, MOST_CANDIDATES)
    scorings = [settings(kind.Scoring, stage, but="keep") for stage in stages]
    before = scorings[-2] if len(scorings) > 1 else None
    gflops = kind.cost(shape, classes, scorings[-1], candidates, before).gflops
    model = untrained(kind, shape, classes).to(device).eval()
    random = np.random.default_rng(0)

    def score(images: int) -> None:
        shown = Images(random_images(shape, images), np.array([str(i) for i in range(images)], object), 0)
        columns = np.tile(np.arange(candidates, dtype=np.int32), (images, 1))
        earlier = before and Earlier(before, random.standard_normal((images, candidates)))
        kind.score(model, shown, columns, scorings[-1], earlier)

    with busy_neighbours(device):
        return speed(gflops, score, device)


def untrained(kind: Family, shape: Any, classes: int) -> nn.Module:
    """A model of random weights; of a family that has no steps of training, one that has learned random images."""
    model = seeded(kind.build, shape, classes, 0)
    if "steps" not in {field.name for field in dataclasses.fields(kind.Training)}:
        labels = np.arange(max(classes, getattr(shape, "memory", 0))) % classes
        kind.train(model, random_images(shape, len(labels)), labels, kind.Training(), 0, lambda line: None)
    return model


def random_images(shape: Any, images: int) -> Any:
    """So many images of noise, uint8 (N, H, W, 3)."""
    return np.random.default_rng(images).integers(0, 256, (images, shape.image_size, shape.image_size, 3), np.uint8)
