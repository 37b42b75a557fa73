"""Class-incremental learning by rival families: each task is one more call of the family's `train`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import device as Device
from torch import nn

from varc.baselines.family import Family, Images, seeded
from varc.baselines.stages import stage_scores
from varc.scoring.funnel import best_classes

JOINT = "family_joint"  # all images so far at once, from the start again; every other strategy trains on


def learn_family(
    strategy: str,
    kind: Family,
    tasks: Sequence[Sequence[int]],
    shape: Any,
    training: Any,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    seed: int,
    device: Device,
) -> Iterator[nn.Module]:
    """Learns images (N, H, W, 3) task by task; yields the model after each.

    family_sequential trains the one model on each task's images in turn. Where a family trains its classes apart, the
    old ones stay as they are. family_joint trains a new one on all images so far: the upper bound.
    """
    size = 1 + max(c for task in tasks for c in task)
    model = seeded(kind.build, shape, size, seed).to(device)
    for i, task in enumerate(tasks):
        if strategy == JOINT:
            model = seeded(kind.build, shape, size, seed).to(device)
        which = np.isin(labels, [c for part in tasks[: i + 1] for c in part] if strategy == JOINT else task)
        own = share_of_training(kind, training, which.mean())
        kind.train(model.train(), images[which], labels[which], own, seed, lambda line: None)
        yield model.eval()


def share_of_training(kind: Family, training: Any, share: float) -> Any:
    """The settings for a share of the images: so many steps that each image comes as often as in training on all.

    They stay where a family does not train by batches, or says by APART that its steps are those of each class.
    """
    if getattr(kind, "APART", False) or not hasattr(training, "batch_size"):
        return training
    return replace(training, steps=max(1, round(training.steps * share)))


def staged_predictions(
    kind: Family, model: nn.Module, images: Images, classes: Sequence[int], scorings: Sequence[Any], keep: Sequence[int]
) -> NDArray[Any]:
    """Predictions (N,) among some classes by a classifier's stages: scorings, and how many classes each keeps."""
    candidates = np.tile(np.array(sorted(classes), np.int32), (len(images.pixels), 1))
    return best_classes(stage_scores(kind, model, images, candidates, scorings, keep)[-1])
