"""Classifiers: a model and a funnel; or a rival, a baseline and its stages."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from varc.scoring.spelling import Precision, check_falling_keep, check_guidance
from workflow.config.entry import Entry, OpenEntry, Path, Positive, Rate, Sigma, Some, given_keys
from workflow.config.families import check_own, check_settings, has, known_family, settings_of, shape_of
from workflow.config.models import SHA256


class FixedStage(Entry):
    called = "a stage (which has scales and keep, or adaptive, or certify)"
    scales: Positive
    """The first so many scales are scored."""
    samples: Positive = 1
    """Token samples: one clean, the others noisy."""
    keep: Positive
    """Candidates that go on; all, where there are fewer. It falls from stage to stage and ends with 1."""
    precision: Precision = "float32"
    """Of the linear layers: `bf16` where the processor has it, `tf32` on GPUs that do."""
    guidance: Rate | None = None
    """Scores a single stage under logits guided by so much; default: none."""


class Adaptive(Entry):
    called = "adaptive"
    alpha: Annotated[float, Field(gt=0, lt=1)]
    """The label is dropped with a chance of at most alpha where the full funnel predicts it; where images have groups,
    in the mean over groups."""
    samples: Positive = 1
    """Up to so many samples are added while the prediction is open."""


class AdaptiveStage(Entry):
    called = "an adaptive stage"
    adaptive: Adaptive
    """Candidates are dropped after every scale; the stage stands alone."""
    precision: Precision = "float32"
    """As of a fixed stage; the images of `calibrate` are scored in it too."""


class Certify(Entry):
    called = "certify"
    alpha: Annotated[float, Field(gt=0, lt=1)]
    """The class that float32 predicts is not looked at again with a chance of at most alpha; where images have groups,
    in the mean over groups."""


class CertifiedStage(Entry):
    called = "a certified stage"
    scales: Positive
    """All classes are scored at the first so many scales, and in float32 those that may be its prediction."""
    precision: Literal["tf32", "bf16"]
    """In which all classes are scored."""
    certify: Certify
    """How far float32's prediction may be behind the best, as the images of `calibrate` show; it stands alone."""


def kind_of_stage(given: Any) -> str:
    keys = given_keys(given)
    return "(adaptive)" if "adaptive" in keys else "(certified)" if "certify" in keys else "(fixed)"


AnyStage = Annotated[
    Annotated[FixedStage, Tag("(fixed)")]
    | Annotated[AdaptiveStage, Tag("(adaptive)")]
    | Annotated[CertifiedStage, Tag("(certified)")],
    Discriminator(kind_of_stage),
]


class ScaleWeights(Entry):
    called = "scale_weights"
    fit: str
    """A data set of images that nothing is evaluated or calibrated on, nor its model trained: each scale's
    log-likelihood gets a weight such that their labels are most likely. Every stage ranks by the weighted sum; not with
    guidance."""


class Classifier(Entry):
    called = "a classifier with a model (a rival has baseline)"
    model: str
    """The model that scores."""
    sigma: Sigma | None = None
    """Standard deviation of smoothing's noise: a number, or `{spread: s}`, s times that of the features of the training
    images; required if a stage has samples above 1."""
    calibrate: str | None = None
    """A data set of images that nothing else takes (to train its model, validate, evaluate or search is refused): an
    adaptive funnel takes its thresholds from it, and needs at least 2 / alpha images that the full funnel predicts
    rightly, or 1.1 / alpha groups with such images (with fewer it drops nothing, the log warns, and `adaptive.csv` has
    the numbers); a certified stage takes its delta from it, and needs 1 / alpha - 1 images or groups; for one stage at
    all scales, `calibration.csv` fits a temperature on it. Required for `adaptive` and `certify`."""
    scale_weights: ScaleWeights | None = None
    """How much each scale counts; default: all the same."""
    funnel: Some[AnyStage]
    """Stages: each scores what the one before kept."""

    @property
    def adaptive(self) -> Adaptive | None:
        """The settings of an adaptive stage; None for a funnel of fixed stages."""
        return next((stage.adaptive for stage in self.funnel if isinstance(stage, AdaptiveStage)), None)

    @property
    def certified(self) -> CertifiedStage | None:
        """The certified stage; None for other funnels."""
        return next((stage for stage in self.funnel if isinstance(stage, CertifiedStage)), None)

    @property
    def adaptive_precision(self) -> str:
        """The precision of an adaptive stage."""
        return next(stage.precision for stage in self.funnel if isinstance(stage, AdaptiveStage))

    @property
    def stages(self) -> list[FixedStage]:
        """The fixed stages."""
        return [stage for stage in self.funnel if isinstance(stage, FixedStage)]

    @property
    def sampled(self) -> list[FixedStage | Adaptive]:
        """What each stage that has samples says of them."""
        return [*self.stages, *([self.adaptive] if self.adaptive else [])]

    @property
    def samples(self) -> int:
        """The most samples of a stage."""
        return max((stage.samples for stage in self.sampled), default=1)

    @model_validator(mode="after")
    def check_funnel(self) -> "Classifier":
        kind = "an adaptive" if self.adaptive else "a certified" if self.certified else ""
        if kind and len(self.funnel) > 1:
            raise ValueError(f"funnel: {kind} stage stands alone; take the others away")
        if kind and not self.calibrate:
            what = "its thresholds" if self.adaptive else "its delta"
            raise ValueError(f"calibrate is missing; {kind} funnel takes {what} from that data set")
        for i, stage in enumerate(self.sampled):
            if stage.samples > 1 and self.sigma is None:
                found = f"funnel: {i}: samples is {stage.samples}"
                raise ValueError(f"{found}, but the classifier has no sigma; add it")
        check_falling_keep("funnel", [stage.keep for stage in self.stages] or [1])
        check_guidance("funnel", self.stages)
        guided = [i for i, stage in enumerate(self.stages) if stage.guidance]
        if guided and self.calibrate:
            raise ValueError(f"funnel: {guided[0]}: guidance goes with one stage of one sample, without calibrate")
        if guided and self.scale_weights:
            found = "weights are fitted on scores without guidance"
            raise ValueError(f"scale_weights does not go with funnel: {guided[0]}: guidance; {found}: take one away")
        return self


class RivalShape(OpenEntry):
    called = "shape"
    image_size: Positive
    """Pixels per side of the images that it takes."""


class RivalTraining(OpenEntry):
    called = "train"
    data: str
    """The data set to train on."""


class RivalStage(OpenEntry):
    called = "a stage of a rival"
    keep: Positive = 1
    """The classes that go on; it falls from stage to stage and ends with 1."""

    @property
    def scoring(self) -> dict[str, Any]:
        """What its scores depend on: all keys but `keep`."""
        return {key: value for key, value in self.given().items() if key != "keep"}


class RivalAdaptive(OpenEntry):
    called = "adaptive"
    alpha: Annotated[float, Field(gt=0, lt=1)]
    """The label is dropped with a chance of at most alpha where the full scoring predicts it, as of a model's."""
    survival: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] | None = None
    """For plans alone: which share of the classes is left after each step, the last one after all that follow; those
    at the end take all samples; default: 1, its most."""

    @property
    def scoring(self) -> dict[str, Any]:
        """The keys of its family."""
        return {key: value for key, value in self.given().items() if key not in ("alpha", "survival")}


class AdaptiveRivalStage(Entry):
    called = "an adaptive stage of a rival"
    adaptive: RivalAdaptive
    """Of family `randar`: classes are dropped after every chunk of an order; it stands alone. The keys beside these
    two are the family's."""


AnyRivalStage = Annotated[
    Annotated[RivalStage, Tag("(fixed)")] | Annotated[AdaptiveRivalStage, Tag("(adaptive)")],
    Discriminator(lambda given: "(adaptive)" if "adaptive" in given_keys(given) else "(fixed)"),
]


class PublicFiles(Entry):
    """Public weights of a tokeniser and a transformer: `.pth`, `.pt` or `.safetensors`."""

    called = "checkpoint of files"
    vq: Path
    """File of the tokeniser's."""
    gpt: Path
    """File of the transformer's."""


class FileDigests(Entry):
    called = "sha256"
    vq: SHA256 | None = None
    gpt: SHA256 | None = None


class Baseline(Entry):
    """A model of a rival family."""

    called = "a baseline"
    family: str
    """A rival family (`docs/families.md`)."""
    shape: RivalShape
    """The shape that the family asks for."""
    train: RivalTraining | None = None
    """How it is trained: `data`, and what its family needs, mostly steps, batch_size, lr; required without
    `checkpoint`."""
    checkpoint: (
        Annotated[
            Annotated[Path, Tag("(folder)")] | Annotated[PublicFiles, Tag("(files)")],
            Discriminator(lambda given: "(folder)" if isinstance(given, str) else "(files)"),
        ]
        | None
    ) = None
    """Instead of `train`: the folder of public weights; of family `randar` two files, `{vq, gpt}`."""
    sha256: FileDigests | None = None
    """What the files must have; default: not checked, but recorded."""
    classes: Positive | None = None
    """How many classes public weights know; required with `checkpoint`."""

    @model_validator(mode="after")
    def check_family(self) -> "Baseline":
        known_family(self.family)
        if (self.train is None) == (self.checkpoint is None):
            raise ValueError("a baseline has either train or checkpoint; give one of them")
        if (self.classes is None) != (self.checkpoint is None):
            raise ValueError("classes goes with checkpoint: how many the file knows; give both or none")
        shape = self.shape.given()
        check_settings("shape", self.family, "Shape", shape)
        check_shape(shape)
        check_own("shape", self.family, "check_shape", shape_of(self.family, shape))
        self.check_checkpoint()
        if self.train is None:
            return self
        if shape.get("latent") is True:
            raise ValueError("shape: latent goes with checkpoint; training here is on pixels")
        given = {key: value for key, value in self.train.given().items() if key != "data"}
        check_settings("train", self.family, "Training", given)
        return self

    def check_checkpoint(self) -> None:
        """Public weights must be such as the family has. Raises ValueError."""
        files = list(getattr(settings_of(self.family), "PUBLIC_FILES", ()))
        if self.sha256 and not isinstance(self.checkpoint, PublicFiles):
            raise ValueError("sha256 goes with checkpoint: {vq, gpt}; take it away")
        if self.checkpoint is None:
            return
        if not has(self.family, "PUBLIC_WEIGHTS"):
            raise ValueError(f"checkpoint: family {self.family} has no public weights; give train instead")
        if isinstance(self.checkpoint, PublicFiles) != bool(files):
            wanted = f"files, {{{', '.join(files)}}}" if files else "a folder"
            raise ValueError(f"checkpoint: the public weights of family {self.family} are {wanted}; give that")

    @property
    def files(self) -> dict[str, str]:
        """The files of public weights by their parts, where the config names them one by one."""
        return self.checkpoint.given() if isinstance(self.checkpoint, PublicFiles) else {}

    def digest(self, part: str) -> str | None:
        """The SHA-256 that the config gives for a file."""
        return getattr(self.sha256, part) if self.sha256 else None


def check_shape(shape: dict[str, Any]) -> None:
    """Patches must fill the image (Stable Diffusion's latents are an eighth of its side), and heads the width."""
    side = shape["image_size"] // (8 if shape.get("latent") is True else 1)
    if side % shape.get("patch_size", 1):
        raise ValueError(f"shape: patch_size {shape['patch_size']} does not divide the side {side}")
    if shape.get("width", 0) % shape.get("heads", 1):
        raise ValueError(f"shape: heads {shape['heads']} does not divide width {shape['width']}")
    if shape.get("channels", 3) not in (1, 3):
        raise ValueError(f"shape: channels is {shape['channels']}; grey images have 1, colour images 3")


class Rival(Entry):
    called = "a classifier with a baseline"
    baseline: str
    """An entry of baselines."""
    stages: Some[AnyRivalStage] = Field(default=[RivalStage()])
    """The keys of its family, and `keep`; default: one stage without keys."""
    calibrate: str | None = None
    """As for other classifiers, for one stage. Required for `adaptive`."""

    @property
    def adaptive(self) -> RivalAdaptive | None:
        """The settings of an adaptive stage; None for fixed stages."""
        return next((stage.adaptive for stage in self.stages if isinstance(stage, AdaptiveRivalStage)), None)

    @property
    def fixed(self) -> list[RivalStage]:
        """The fixed stages."""
        return [stage for stage in self.stages if isinstance(stage, RivalStage)]

    @model_validator(mode="after")
    def check_stages(self) -> "Rival":
        if self.adaptive and len(self.stages) > 1:
            raise ValueError("stages: an adaptive stage stands alone; take the others away")
        if self.adaptive and not self.calibrate:
            raise ValueError("calibrate is missing; an adaptive stage takes its thresholds from that data set")
        check_falling_keep("stages", [stage.keep for stage in self.fixed] or [1])
        if self.calibrate and len(self.stages) > 1:
            raise ValueError("calibrate goes with one stage, which scores all classes; take it away")
        return self


def kind_of_classifier(given: Any) -> str:
    return "(rival)" if "baseline" in given_keys(given) else "(model)"


AnyClassifier = Annotated[
    Annotated[Classifier, Tag("(model)")] | Annotated[Rival, Tag("(rival)")], Discriminator(kind_of_classifier)
]
