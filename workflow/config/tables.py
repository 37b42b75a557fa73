"""What is made of scores beside predictions: tables, maps, classes learned task by task."""

import os
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from varc.scoring.spelling import Precision
from workflow.config.entry import Entry, Path, Positive, Rate, Sigma, Some, each_once, either
from workflow.config.models import SampledTraining


class Evaluation(Entry):
    """Every classifier of an entry on every data set of it."""

    called = "an entry of evaluate"
    datasets: Some[str]
    """Names of datasets."""
    classifiers: Some[str]
    """Names of classifiers."""


class Smoothing(Entry):
    """`smoothing.csv` has top-1 for every combination."""

    called = "an entry of smoothing"
    datasets: Some[str]
    """Names of datasets."""
    models: Some[str]
    """Names of models."""
    sigmas: Some[Sigma]
    """Standard deviations of the noise."""
    samples: Some[Positive]
    """Numbers of samples."""


Strategy = Literal[
    "none", "cwr", "joint",
    "var_sequential", "var_embeddings", "var_adapters", "var_joint",
    "family_sequential", "family_joint",
]  # fmt: skip


class TaskTraining(SampledTraining):
    called = "train"


class Incremental(Entry):
    """Classes learned task by task; see `docs/incremental.md`."""

    called = "an entry of incremental"
    classifier: str
    """Its model fine-tuned by CCA; or of a baseline that is trained here."""
    data: str
    """The data set to learn."""
    test: str
    """The data set to test on."""
    tasks: Some[Positive]
    """Numbers of tasks."""
    seeds: Positive
    """How many seeds."""
    strategies: Some[Strategy]
    """`family_sequential`, `family_joint` for a baseline; the others for a model."""
    train: TaskTraining | None = None
    """Steps, batch_size, lr, samples and sigma for public models."""

    def runs(self) -> Iterator[tuple[int, str]]:
        """Numbers of tasks and strategies, in order."""
        return ((tasks, strategy) for tasks in self.tasks for strategy in self.strategies)


class Judge(Entry):
    """A small convolutional network trained on a data set, which judges maps besides the model that they explain."""

    called = "a judge"
    data: str
    """The data set that it is trained on."""
    steps: Positive
    """Optimiser steps."""
    lr: Rate
    """Peak learning rate."""
    precision: Precision = "float32"
    """In which it judges; it is trained in float32."""


TMI_METHODS = ("tmi", "tmi_flat", "tmi_steep", "tmi_last", "tmi_randomised", "tmi_abs", "tmi_abs_randomised")
MASKED_METHODS = ("lime", "kernel_shap", "occlusion")
GRADIENT_METHODS = ("gradient_shap", "saliency", "grad_cam")
CONTROLS = ("random", "centre", "edge", "ink")
MEAN_MASK = "mean_mask"  # the control that knows the pair
BUDGETED = ("lime", "kernel_shap", "gradient_shap")
Method = Literal[
    "tmi", "tmi_flat", "tmi_steep", "tmi_last", "tmi_randomised", "tmi_abs", "tmi_abs_randomised",
    "lime", "kernel_shap", "occlusion", "gradient_shap", "saliency", "grad_cam",
    "random", "centre", "edge", "ink", "mean_mask",
]  # fmt: skip
PAIRS_NAME = re.compile(r"[A-Za-z0-9_-]+(?<!-randomised)(?<!-tf32)(?<!-bf16)")  # what ends the roles of other models
ClassId = Annotated[int, Field(ge=0)]
Target = Annotated[ClassId | Literal["label", "prediction"], either("a class_id, nor label, nor prediction")]
Against = Annotated[
    ClassId | Literal["unconditional", "runner_up"], either("a class_id, nor unconditional, nor runner_up")
]
Substrate = Literal["blur", "mean"]


class Faithfulness(Entry):
    """Insertion and deletion curves in `explanation.csv`."""

    called = "faithfulness"
    steps: Positive = 28
    """Steps of a curve."""
    upsample: Literal["nearest", "bilinear"] = "bilinear"
    """How maps come to the image's resolution."""
    insertion: Annotated[list[Substrate], AfterValidator(each_once)] = Field(default=["blur"])
    """What stands in for missing pixels: `blur`, `mean` (colour)."""
    deletion: Annotated[list[Substrate], AfterValidator(each_once)] = Field(default=["mean"])
    """As insertion."""
    judges: list[str] = Field(default_factory=list)
    """Networks that judge the maps too: names of `judges`, or of rivals that score in one stage."""

    @property
    def curves(self) -> list[tuple[str, Substrate]]:
        """The curves, each with its substrate."""
        return [("insertion", ground) for ground in self.insertion] + [("deletion", ground) for ground in self.deletion]


class Explanation(Entry):
    """Maps for every combination, in `results/<run>/maps/`; see `docs/explanations.md`."""

    called = "an entry of explain"
    datasets: Some[str]
    """Names of datasets."""
    models: Some[str]
    """Names of models."""
    methods: Some[Method]
    """TMI with the paper's weights of the scales (`tmi`) or others (`tmi_flat`, `tmi_steep`, `tmi_last`), of absolute
    values per token (`tmi_abs`), of a model with shuffled weights (`tmi_randomised`, `tmi_abs_randomised`); `lime`,
    `kernel_shap`, `occlusion` of the same model; `gradient_shap`, `saliency`, `grad_cam` of the first judge; `random`,
    `centre`, `edge`, `ink`, which know no model; `mean_mask`, which knows the pair."""
    pairs: Path | None = None
    """CSV of the two classes that are told apart, by image: image_id, target, against (class_ids), and counterpart (the
    image_id of a picture of the other class) for `contrast.csv`. In place of target and against."""
    target: Target | None = None
    """What is explained: label, prediction or a class_id; default: required without pairs."""
    against: Against | None = None
    """What it is told from: unconditional, runner_up or a class_id; default: required without pairs."""
    images: Positive | None = None
    """So many images, chosen by a seeded hash of image_id; of pairs among those of the file; default: all."""
    samples: Positive = 1
    """TMI is averaged over so many smoothing samples."""
    sigma: Sigma | None = None
    """Of their noise; default: none."""
    precision: Precision = "float32"
    """In which the model scores tokens and masked images, and judges; not with a gallery of predictions."""
    budget: Positive | None = None
    """Images that `lime`, `kernel_shap` and `gradient_shap` look at per map; required by them."""
    gallery: Positive | None = None
    """A picture of so many right predictions of the model, of so many wrong ones with the smallest margins, and of so
    many with the largest, explained; with pairs of so many images
    with the highest and so many with the lowest AUC of the first method, ties by image_id; default: none."""
    faithfulness: Faithfulness | None = None

    @model_validator(mode="after")
    def check_fit(self) -> "Explanation":
        for key in ("target", "against"):
            told = getattr(self, key) is not None
            if self.pairs and told:
                raise ValueError(f"{key} does not go with pairs, whose file tells both classes; take {key} away")
            if not (self.pairs or told):
                raise ValueError(f"{key} is missing; an entry of explain needs it, or pairs")
        if self.pairs and not PAIRS_NAME.fullmatch(self.pairs_name):
            expected = f"its name without the suffix must match {PAIRS_NAME.pattern}, since paths have it"
            raise ValueError(f"pairs: {self.pairs!r}: {expected}; rename it")
        if MEAN_MASK in self.methods and not self.pairs:
            raise ValueError(f"{MEAN_MASK} is the mean of true differences, which pairs tell; add pairs")
        for method in self.methods:
            if method in BUDGETED and self.budget is None:
                raise ValueError(f"budget is missing; {method} needs it: how many images it may look at")
            if method in GRADIENT_METHODS and not self.judges:
                raise ValueError(f"{method} explains a network; name one in faithfulness: judges")
        if self.samples > 1 and self.sigma is None:
            raise ValueError(f"samples is {self.samples}, but there is no sigma; add it")
        if self.gallery and not self.pairs and self.precision != "float32":
            found = f"precision {self.precision} does not go with gallery"
            raise ValueError(f"{found}, whose maps are float32; take one away")
        return self

    @property
    def judges(self) -> list[str]:
        return self.faithfulness.judges if self.faithfulness else []

    @property
    def looks_up(self) -> bool:
        """Whether scores of all classes tell which classes it explains."""
        pictures = self.gallery is not None and not self.pairs
        return pictures or any(tells_by_scores(role) for role in self.roles)

    @property
    def pairs_name(self) -> str:
        """What paths call the file of pairs; empty without one."""
        return os.path.splitext(os.path.basename(self.pairs or ""))[0]

    @property
    def roles(self) -> list[str]:
        """The roles of the two classes that are told apart, e.g. "label" and "runner_up-of-label"; of pairs.csv
        "target-of-pairs" and "against-of-pairs"."""
        if self.pairs:
            return [f"target-of-{self.pairs_name}", f"against-of-{self.pairs_name}"]
        target, against = str(self.target), str(self.against)
        return [target, f"runner_up-of-{target}" if against == "runner_up" else against]


def tells_by_scores(role: str) -> bool:
    """Whether scores of all classes tell which class a role stands for."""
    return role == "prediction" or role.startswith("runner_up")
