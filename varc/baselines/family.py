"""What a rival family is: one file here and its settings beside it, found by their name.

A family `<name>` has, in varc/baselines/settings/<name>.py, which imports no torch,

- Shape: a frozen dataclass, the keys of `shape:` in the config. `image_size` is one of them.
- Training: a frozen dataclass, the keys of `train:` beside `data`.
- Scoring: a frozen dataclass, the keys of a stage of a classifier beside `keep`; it may be empty.
- PUBLIC_WEIGHTS = True, CAM_LAYER = True: whether it has load_public, cam_layer;
- PUBLIC_FILES: the names of its public files, where these are files and not a folder;
- check_shape(shape), check_stages(shape, stages): raise ValueError for what no model can have, naming the key;
- Sample, samples(scoring), alone(scoring), spelled(scoring), where a stage's samples are scored one by one, each into
  files of its own: what says which sample it is, the samples of a stage by the names of their folders, a stage of one
  of them alone, and a stage's name. Scoring then has `combine`, see varc.scoring.combining;
- Adaptive, full(adaptive), of these, where a stage may be adaptive (varc.scoring.adaptive): a frozen dataclass, the
  keys of `adaptive` beside those that all families have; and the stage of all that it may score, whose first sample is
  scored in steps;

and in the module varc/baselines/<name>.py these three, and

- build(shape, classes) -> Model: random weights, from torch's global seed; class_ids are 0 to classes - 1.
- train(model, images, labels, training, seed, report): in place, on the device that the model is on.
- score(model, images, candidates, scoring, earlier) -> scores of the candidates, the larger the likelier. An image's
  scores depend on nothing but the image, its image_id, the candidates' class_ids and the seed. What takes long goes
  through images.keep, piece by piece (varc.keep.Keep), so that a killed job goes on.
- cost(shape, classes, scoring, candidates, earlier) -> Cost: what `score` takes per image, counted on the real module.

and, where they have a meaning,

- score_sample(model, images, candidates, sample) -> log-likelihoods of the candidates, by steps (N, M, K): what `score`
  combines, summed over them.
- score_adaptive(model, images, candidates, thresholds, adaptive) -> AdaptiveScores, and
  step_costs(shape, classes, adaptive) -> ModelCosts and step_tokens(shape, adaptive) -> their numbers after each step:
  what an adaptive stage scores, what its costs are made of, and how much of an image it has seen.
- load_public(path, shape, classes) -> Model: public weights; path: of the folder, or of the files by PUBLIC_FILES.
- cam_layer(model): the layer that GradCAM looks at, of a model that maps images (B, 3, H, W) in [-1, 1] to logits.
- APART = True: classes are trained apart, each with all the steps of `train`, so that learning new ones leaves the
  others as they are.

knn.py is a short example.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from varc.errors import InputError
from varc.keep import Keep, at_once

FAMILIES = "varc.baselines"


class Images(NamedTuple):
    """Images to be scored, uint8 (N, H, W, 3), what seeds their noise (see varc.scoring.smoothing.noise), and what
    keeps the pieces of their scores."""

    pixels: NDArray[np.uint8]
    image_ids: NDArray[np.object_]
    seed: int
    keep: Keep = at_once


class Earlier(NamedTuple):
    """An earlier stage of the same classifier: its settings, and its scores (N, M) of the same candidates."""

    scoring: Any
    scores: NDArray[np.float64]


class Cost(NamedTuple):
    """Per image: forward passes of the model, GFLOPs in fvcore's convention, and those of attention products."""

    passes: int
    gflops: float
    attention_gflops: float = 0.0


class Family(Protocol):
    """The functions of a family's module; see above."""

    Shape: Any
    Training: Any
    Scoring: Any

    def build(self, shape: Any, classes: int) -> nn.Module: ...

    def train(
        self,
        model: nn.Module,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        training: Any,
        seed: int,
        report: Callable[[str], None],
    ) -> None: ...

    def score(
        self, model: nn.Module, images: Images, candidates: NDArray[np.int32], scoring: Any, earlier: Earlier | None
    ) -> NDArray[np.float64]: ...

    def cost(self, shape: Any, classes: int, scoring: Any, candidates: int, earlier: Any) -> Cost: ...


def family(name: str) -> Family:
    """The module of a family. Raises InputError where a library that it needs is not installed."""
    try:
        return importlib.import_module(f"{FAMILIES}.{name}")
    except ModuleNotFoundError as error:
        raise InputError(
            f"family: {name}: {error.name} is not installed; run pip install -e '.[baselines]' in the clone"
        ) from None


def settings(kind: type, given: dict[str, Any], but: str = "") -> Any:
    """A family's Shape, Training or Scoring from a config entry without the key `but`; lists become tuples."""
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k != but})


def seeded(build: Callable[[Any, int], nn.Module], shape: Any, classes: int, seed: int) -> nn.Module:
    """A model with random weights that depend on the seed alone."""
    torch.manual_seed(seed)
    return build(shape, classes)


def images_seen(kind: Family, shape: Any, training: Any, labels: NDArray[np.int64]) -> int:
    """How many images a training sees: steps times batch_size, of each class where they are trained apart; of families
    that do not train by steps all images, but no more than the settings' `images` and the shape's `memory`."""
    if not hasattr(training, "batch_size"):
        return min(len(labels), getattr(training, "images", len(labels)), getattr(shape, "memory", len(labels)))
    classes = len(np.unique(labels))
    return training.steps * training.batch_size * (classes if getattr(kind, "APART", False) else 1)


def device_of(model: nn.Module) -> torch.device:
    """The device that a model is on, by its first parameter or buffer."""
    return next(iter(model.state_dict().values())).device


def columns(scores: NDArray[Any], classes: NDArray[Any], candidates: NDArray[np.int32]) -> NDArray[np.float64]:
    """Scores (N, M) of the candidates (N, M), from scores (N, C) of the classes (C,), which ascend.

    Raises InputError for a candidate that is none of the classes.
    """
    if absent := sorted(set(candidates.ravel().tolist()) - set(np.asarray(classes).tolist())):
        raise InputError(f"class_id {absent[0]} is in the class list, but the model learned other classes only")
    return np.take_along_axis(scores.astype(np.float64), np.searchsorted(classes, candidates), axis=1)
