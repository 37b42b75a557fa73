"""Models: trained here, fine-tuned, or public; and what follows of one from those that it comes from."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from varc.models.architectures import ARCHITECTURES
from varc.scoring.spelling import Precision
from workflow.config.entry import Entry, Name, Path, Positive, Rate, Sigma, Some, did_you_mean, given_keys

PUBLIC_NORM_GROUPS, PIXELS_PER_PATCH = 32, 16  # of the public VQ-VAE
CHECKPOINTS = "checkpoints"  # the one folder that is downloaded to
PLAIN = "[A-Za-z0-9][A-Za-z0-9_.-]*"
DOWNLOADED = re.compile(f"{CHECKPOINTS}/({PLAIN}/)*{PLAIN}")


class Optimised(Entry):
    """How something is trained."""

    steps: Positive
    """Optimiser steps."""
    batch_size: Positive
    """Images per step."""
    lr: Rate
    """Peak learning rate."""


class Validated(Optimised):
    """Training of which the best step is kept."""

    validate_: str | None = Field(default=None, alias="validate")
    """A data set that is validated on; the best step's weights are kept: by mean squared error (a VQ-VAE), or VARC's
    top-1 (a VAR; equal ones by nats per token where it is trained, by the last where it is fine-tuned); default: the
    last step's."""
    validate_every: Positive | None = None
    """Validated every so many steps, and after the last."""
    validate_images: Positive | None = None
    """On so many of its images, chosen by a seeded hash of image_id; default: all."""

    @model_validator(mode="after")
    def check_validation(self) -> "Validated":
        if (self.validate_ is None) != (self.validate_every is None):
            raise ValueError("validate and validate_every go together; give both or none")
        if self.validate_images and self.validate_ is None:
            raise ValueError("validate_images says how many of validate's images; add validate, or take it away")
        return self


class Averaged(Entry):
    """Training whose weights may be averaged."""

    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, which is validated and saved in their place; less in the
    first steps; default: none."""


class Augment(Entry):
    """Training images are shifted, scaled and turned at random; what lies beyond an edge repeats it."""

    called = "augment"
    translate: Annotated[float, Field(ge=0)] = 0.0
    """Pixels at most, across and down."""
    scale: Annotated[float, Field(ge=0)] = 0.0
    """Larger or smaller by a factor of 1 + `scale` at most."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Degrees at most, either way."""

    @model_validator(mode="after")
    def check_change(self) -> "Augment":
        if not (self.translate or self.scale or self.rotate):
            raise ValueError("translate, scale and rotate are 0; give one of them, or take augment away")
        return self


class AugmentedCopies(Augment):
    """As of the VQ-VAE, whose images are changed anew in every batch; here copies are made once."""

    copies: Positive
    """So many changed copies of each image, drawn per (seed, image_id, copy), are token samples beside the others."""


class VQVAETraining(Validated, Averaged):
    called = "vqvae"
    patch_nums: Some[Positive]
    """Tokens per side of each scale, coarse to fine."""
    ch: Positive
    """Channels at full resolution."""
    ch_mult: Some[Positive]
    """Their multiplier per level; each level but the last halves the resolution."""
    num_res_blocks: Positive
    """Residual blocks per level."""
    z_channels: Positive
    """Channels of a code."""
    vocab_size: Annotated[int, Field(ge=2, le=65536)]
    """Codes."""
    norm_groups: Positive
    """Groups of GroupNorm."""
    augment: Augment | None = None

    @model_validator(mode="after")
    def check_fit(self) -> "VQVAETraining":
        if any(a >= b for a, b in pairwise(self.patch_nums)):
            raise ValueError(f"patch_nums are {self.patch_nums}; each must be larger than the one before")
        if any(self.ch * mult % self.norm_groups for mult in self.ch_mult):
            found = f"ch {self.ch}, ch_mult {self.ch_mult}, norm_groups {self.norm_groups}"
            raise ValueError(f"{found}; norm_groups must divide the channels of every level")
        return self


class SampledTraining(Optimised):
    """Training on several token samples per image."""

    samples: Positive = 1
    """Token samples per training image: one clean, the others with noise of `sigma` on the features."""
    sigma: Sigma | None = None
    """Standard deviation of that noise; default: none."""

    @model_validator(mode="after")
    def check_sigma(self) -> "SampledTraining":
        if self.samples > 1 and self.sigma is None:
            raise ValueError(f"samples {self.samples} needs sigma; add it")
        return self


class VARTraining(SampledTraining, Validated, Averaged):
    called = "var"
    depth: Positive
    """Blocks."""
    width: Positive
    """Width."""
    heads: Positive
    """Attention heads."""
    label_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the labels that are replaced by the unconditional class."""
    augment: AugmentedCopies | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    """Of the first weights, and of the order of images; default: the run's."""

    @model_validator(mode="after")
    def check_heads(self) -> "VARTraining":
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} does not divide width {self.width}")
        return self


class Training(Entry):
    called = "train"
    data: str
    """The data set to train on."""
    vqvae: Annotated[
        Annotated[Name, Tag("(name)")] | Annotated[VQVAETraining, Tag("(training)")],
        Discriminator(lambda given: "(name)" if isinstance(given, str) else "(training)"),
    ]
    """How to train its VQ-VAE; or the name of a model whose VQ-VAE it shares: one that trains it, or of given files."""
    var: VARTraining
    """How to train its VAR."""


class TrainedModel(Entry):
    called = "a model with train"
    train: Training


class Finetuning(Validated):
    """Fine-tuning on cached tokens; a batch is shared by all processes and micro-batches."""

    data: str | None = None
    """The images; default: those that the base was trained on; required for public models."""
    samples: Positive | None = None
    """Token samples of each; default: as the base, 1 for public models."""
    sigma: Sigma | None = None
    """Of their noise; default: as the base."""
    accumulate: Positive = 1
    """Micro-batches per step and process."""
    precision: Precision = "float32"
    """`bf16`: by autocast."""

    @model_validator(mode="after")
    def check_settings(self) -> "Finetuning":
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        return self


class CrossEntropy(Finetuning):
    called = "cross_entropy"


class CCA(Finetuning):
    called = "cca"
    beta: Rate
    """Scale of the log-ratios in condition contrastive alignment."""
    lambda_: Annotated[float, Field(ge=0)] = Field(alias="lambda")
    """Weight of the negatives."""


class Discriminative(Finetuning):
    called = "discriminative"
    beta: Rate
    """Scale of the log-likelihoods in the softmax over the label and its negatives."""
    negatives: Positive
    """Other classes that each label is told from, drawn anew in every step."""
    gen: Annotated[float, Field(ge=0)]
    """Weight of the label's own nats per token."""


class FinetunedModel(Entry):
    called = "a model with finetune"
    finetune: str
    """The model, trained here or public, that is fine-tuned, by one of `cca`, `cross_entropy`, `discriminative`."""
    cca: CCA | None = None
    """By condition contrastive alignment."""
    cross_entropy: CrossEntropy | None = None
    """The same number of steps by the base's own loss: the control of the others."""
    discriminative: Discriminative | None = None
    """By a softmax over the label and other classes beside the likelihood (Fetaya et al. 2020)."""

    @model_validator(mode="after")
    def check_objective(self) -> "FinetunedModel":
        if len(self.objectives) != 1:
            raise ValueError("finetune goes with either cca, cross_entropy or discriminative; give one of them")
        return self

    @property
    def objectives(self) -> dict[str, Finetuning]:
        """The ways that are given, by their keys."""
        given = {"cca": self.cca, "cross_entropy": self.cross_entropy, "discriminative": self.discriminative}
        return {name: entry for name, entry in given.items() if entry is not None}

    @property
    def objective(self) -> str:
        return next(iter(self.objectives))

    @property
    def settings(self) -> Finetuning:
        return self.objectives[self.objective]


SHA256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class Digests(Entry):
    called = "sha256"
    vqvae: SHA256 | None = None
    var: SHA256 | None = None


class Hub(Entry):
    called = "hub"
    repo: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """A Hugging Face repository."""
    revision: Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")]
    """A commit of it."""


class PublicModel(Entry):
    called = "a model of given weights, by the keys vqvae and var (others have train, or finetune)"
    vqvae: Path
    """File of public weights, `.pth` or `.safetensors`."""
    var: Path | None = None
    """As vqvae; default: none, for a VQ-VAE that other models' `train` names."""
    architecture: str | None = None
    """The shape that the files have (`var_d16`, `var_d20`, `var_d24`, `var_d30`, `var_d36`): costs and plans work
    before they are there, and another shape is refused; default: told by the tensors."""
    patch_nums: Some[Positive] | None = None
    """What no tensor shows, for files of another shape without `architecture`; default: by the VAR's number of
    positions, of a VQ-VAE alone those of the public models at 256 px."""
    norm_groups: Positive | None = None
    """As patch_nums; default: 32."""
    sha256: Digests | None = None
    """What the files must have; default: not checked, but recorded."""
    hub: Hub | None = None
    """Where absent files are downloaded from, to `checkpoints/NAME` alone; needs `sha256`; default: never."""

    @model_validator(mode="after")
    def check_fit(self) -> "PublicModel":
        if self.architecture is not None and self.architecture not in ARCHITECTURES:
            names, near = ", ".join(sorted(ARCHITECTURES)), did_you_mean(self.architecture, ARCHITECTURES)
            raise ValueError(f"architecture: {self.architecture!r} is not known; known are {names}{near}")
        if self.architecture and self.patch_nums:
            raise ValueError("patch_nums follow from architecture; take one of them away")
        if self.digest("var") and not self.var:
            raise ValueError("sha256: var is that of no file; add var, or take it away")
        if self.hub and not all(self.digest(part) for part in self.files):
            needed = ", ".join(f"{part}: ..." for part in self.files)
            raise ValueError(f"hub needs sha256: {{{needed}}}, so that what is downloaded is checked")
        for part, file in self.files.items() if self.hub else ():
            if not DOWNLOADED.fullmatch(file):
                found = f"{file!r} is to be downloaded, but is not {CHECKPOINTS}/ and a plain name"
                raise ValueError(f"{part}: {found} (letters, digits, _ . -); give {CHECKPOINTS}/NAME, or take hub away")
        return self

    @property
    def files(self) -> dict[str, str]:
        """The files that are given, by their parts."""
        return {"vqvae": self.vqvae} | ({"var": self.var} if self.var else {})

    def digest(self, part: str) -> str | None:
        """The SHA-256 that the config gives for a file."""
        return getattr(self.sha256, part) if self.sha256 else None


def kind_of_model(given: Any) -> str:
    keys = given_keys(given)
    return "(trained)" if "train" in keys else "(finetuned)" if "finetune" in keys else "(public)"


Model = Annotated[
    Annotated[TrainedModel, Tag("(trained)")]
    | Annotated[FinetunedModel, Tag("(finetuned)")]
    | Annotated[PublicModel, Tag("(public)")],
    Discriminator(kind_of_model),
]
Models = Mapping[str, TrainedModel | FinetunedModel | PublicModel]
