"""The stages of classifiers: what each scores, from what, and where its scores lie.

A stage's candidates are spelled by what chose them, so classifiers that agree on their first stages share files, and a
changed stage has other paths than before. Folders are below results/<run>/.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from workflow.config.classifiers import Classifier, Rival
from workflow.config.entry import Spread
from workflow.config.families import full_scoring, has_samples, scoring_of, settings_of

CONTENDERS = 2  # of an image, that a plan of a certified stage counts


@dataclass(frozen=True)
class Stage:
    """A step of a classifier. scorer: its model, or its baseline. before: the stages before it, the first one first.
    weights: the data set that the weights of its scales are fitted on; "" where all count alike. They are applied where
    scores are read, so that they are in no score, and in the names of all that they choose."""

    rule: ClassVar[str]
    scorer: str
    before: tuple["Stage", ...]
    keep: int
    weights: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        """The folder of its scores among those of other stages with the same candidates."""
        raise NotImplementedError

    @property
    def spelled(self) -> str:
        """What of it decides which candidates it keeps."""
        return self.name

    @property
    def noises(self) -> list[str]:
        """The <noise> of each of its token samples; none for a rival."""
        return []

    @property
    def parts(self) -> Sequence["Stage"]:
        """What of it is scored by itself, into a folder of its own."""
        return [self]

    @property
    def combine(self) -> str:
        """How the scores of its samples become one, where they are read: see varc.scoring.combining."""
        return "mean"

    @property
    def spelled_weights(self) -> str:
        return f"w-{self.weights}" if self.weights else ""

    @property
    def candidates(self) -> str:
        """The <candidates> that it scores: "all", or e.g. "6x1-keep10.10x1-keep3"."""
        return ".".join(f"{stage.spelled}-keep{stage.keep}" for stage in self.before) or "all"

    @property
    def kept(self) -> str:
        """The <candidates> that it keeps."""
        earlier = "" if self.candidates == "all" else f"{self.candidates}."
        return f"{earlier}{self.spelled}-keep{self.keep}"

    def folder(self, dataset: str) -> str:
        return f"scores/{self.scorer}/{dataset}/{self.candidates}/{self.name}"

    def folders(self, dataset: str) -> list[str]:
        """Where its scores lie, one folder per sample."""
        return [self.folder(dataset)]

    @property
    def reused(self) -> int:
        """How many of its samples an earlier stage has scored."""
        return 0

    def passes(self, candidates: int) -> int:
        """Forward passes of one sample of an image with so many candidates."""
        return candidates

    @property
    def computes(self) -> Any:
        """What its scores depend on beside the images: equal for two stages that may share a folder."""
        raise NotImplementedError


@dataclass(frozen=True)
class ScaleStage(Stage):
    """Scores candidates at the first scales. sigma: as in paths, empty where only the clean sample is scored."""

    rule: ClassVar[str] = "score"
    scales: int
    samples: int = 1
    sigma: str = ""
    precision: str = "float32"
    guidance: float | None = None

    @property
    def name(self) -> str:
        guided = f"-cfg{spell_number(self.guidance)}" if self.guidance else ""
        return f"scales{self.scales}{self.spelled_precision}{guided}"

    @property
    def spelled_precision(self) -> str:
        return spell_precision(self.precision)

    @property
    def spelled(self) -> str:
        sigma = f"s{self.sigma}" if self.sigma else ""
        return f"{self.scales}x{self.samples}{sigma}{self.spelled_precision}{self.spelled_weights}"

    @property
    def noises(self) -> list[str]:
        return spell_noises(self.sigma, self.samples)

    @property
    def first_scored(self) -> "Stage":
        """The stage that scores its clean sample: for a smoothed one the first that had the same scales."""
        return next((stage for stage in self.before if self.samples > 1 and stage.name == self.name), self)

    @property
    def reused(self) -> int:
        return int(self.first_scored is not self)

    def folders(self, dataset: str) -> list[str]:
        clean, *noisy = self.noises
        own = self.folder(dataset)
        return [f"{self.first_scored.folder(dataset)}/{clean}", *(f"{own}/{noise}" for noise in noisy)]

    def passes(self, candidates: int) -> int:
        return candidates + bool(self.guidance)  # the unconditional class too

    @property
    def full(self) -> bool:
        """Whether it scores all classes in float32, without guidance: its scores have those of all fewer scales."""
        return not self.before and self.precision == "float32" and not self.guidance

    @property
    def computes(self) -> Any:
        return self.scales, self.precision, self.guidance, self.candidates


@dataclass(frozen=True)
class AdaptiveStage(Stage):
    """Drops candidates after every step, by thresholds from the images of `calibrate`."""

    alpha: float
    calibrate: str

    @property
    def full(self) -> Stage:
        """The stage that scores all that it may score, for all classes: what calibrates it, and is compared with it."""
        raise NotImplementedError


@dataclass(frozen=True)
class AdaptiveScaleStage(AdaptiveStage):
    """Of a VAR: after every scale."""

    rule: ClassVar[str] = "score_adaptive"
    scales: int
    samples: int
    sigma: str
    precision: str

    @property
    def name(self) -> str:
        smoothing = f"x{self.samples}s{self.sigma}" if self.samples > 1 else ""
        precision = spell_precision(self.precision)
        return f"adaptive{spell_number(self.alpha)}{smoothing}{precision}{self.spelled_weights}-{self.calibrate}"

    @property
    def noises(self) -> list[str]:
        return spell_noises(self.sigma, self.samples)

    @property
    def full(self) -> ScaleStage:
        sigma = self.sigma if self.samples > 1 else ""
        return ScaleStage(self.scorer, (), 1, self.scales, self.samples, sigma, self.precision)

    def passes(self, candidates: int) -> int:
        return candidates * self.samples  # at most

    @property
    def computes(self) -> Any:
        return self.alpha, self.noises, self.calibrate, self.precision, self.weights


@dataclass(frozen=True)
class CertifiedStage(Stage):
    """In float32 the candidates that may be its prediction, by the scores of all in a lower precision: the stage
    before. Of how many is told by its file."""

    rule: ClassVar[str] = "score_certified"
    scales: int
    alpha: float
    calibrate: str

    @property
    def quick(self) -> ScaleStage:
        """The stage before."""
        (stage,) = self.before
        assert isinstance(stage, ScaleStage)
        return stage

    @property
    def candidates(self) -> str:
        return "all"

    @property
    def name(self) -> str:
        return f"{self.quick.name}-certify{spell_number(self.alpha)}{self.spelled_weights}-{self.calibrate}"

    @property
    def noises(self) -> list[str]:
        return ["clean"]

    @property
    def computes(self) -> Any:
        return self.quick.computes, self.alpha, self.calibrate, self.weights


@dataclass(frozen=True)
class RivalStage(Stage):
    """A stage of a rival: its family's keys."""

    rule: ClassVar[str] = "score_baseline"
    scoring: dict[str, Any]

    @property
    def name(self) -> str:
        """Keys and values, e.g. "draws25", or "plain" where there are none."""
        return spell_scoring(self.scoring)

    @property
    def parts(self) -> Sequence["RivalStage"]:
        return [self]

    @property
    def rated(self) -> str:
        """What its speed is known by: equal for those that cost the same."""
        return self.name

    @property
    def counted(self) -> list[dict[str, Any]]:
        """The stages that its cost is counted from, its own last; those before it, where it goes on from them."""
        return self.scorings

    @property
    def scorings(self) -> list[dict[str, Any]]:
        """What the stages up to it score with."""
        return [stage.scoring for stage in (*self.before, self) if isinstance(stage, RivalStage)]

    @property
    def computes(self) -> Any:
        return self.scorings, self.candidates


@dataclass(frozen=True)
class SampleStage(RivalStage):
    """One sample of a stage of a rival whose family scores them one by one, as the orders of `randar`: its scores
    depend neither on how many there are nor on how they are combined. scoring: the family's Sample. alone: the
    Scoring of a stage of one such sample, which plans count."""

    called: str
    alone: dict[str, Any]

    @property
    def name(self) -> str:
        return self.called

    @property
    def rated(self) -> str:
        return spell_scoring({key: value for key, value in self.alone.items() if value is not None})

    @property
    def counted(self) -> list[dict[str, Any]]:
        return [self.alone]

    @property
    def computes(self) -> Any:
        return self.scoring, self.candidates


@dataclass(frozen=True)
class SampledStage(RivalStage):
    """A stage of such a rival. family: its name."""

    family: str

    @property
    def settings(self) -> Any:
        """Its family's Scoring."""
        return scoring_of(self.family, self.scoring)

    @property
    def name(self) -> str:
        return settings_of(self.family).spelled(self.settings)

    @property
    def combine(self) -> str:
        return self.settings.combine

    @property
    def samples(self) -> list[SampleStage]:
        """Its samples, those that the stage before has scored too first."""
        alone = dataclasses.asdict(settings_of(self.family).alone(self.settings))
        own = [
            SampleStage(self.scorer, self.before, self.keep, dataclasses.asdict(sample), name, alone)
            for name, sample in settings_of(self.family).samples(self.settings).items()
        ]
        before = self.before[-1].samples if self.before and isinstance(self.before[-1], SampledStage) else []
        known = {sample.name: sample for sample in before}
        return [known.get(sample.name, sample) for sample in own]

    @property
    def reused(self) -> int:
        return sum(sample.before != self.before for sample in self.samples)

    @property
    def parts(self) -> list[SampleStage]:
        return self.samples[self.reused :]

    def folders(self, dataset: str) -> list[str]:
        return [sample.folder(dataset) for sample in self.samples]


@dataclass(frozen=True)
class AdaptiveRivalStage(AdaptiveStage):
    """Of a rival. scoring: the family's Adaptive. survival: what plans count, see the config."""

    rule: ClassVar[str] = "score_baseline_adaptive"
    scoring: dict[str, Any]
    family: str
    survival: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return f"adaptive{spell_number(self.alpha)}-{self.full.name}-{self.calibrate}"

    @property
    def full(self) -> SampledStage:
        scoring = dataclasses.asdict(full_scoring(self.family, self.scoring))
        return SampledStage(self.scorer, (), 1, scoring, self.family)

    def passes(self, candidates: int) -> int:
        return candidates * len(self.full.samples)  # at most

    @property
    def computes(self) -> Any:
        return self.alpha, self.full.scoring, self.calibrate


def funnel(entry: Classifier | Rival, num_scales: int, family: str | None = None) -> tuple[Stage, ...]:
    """The stages of a classifier's entry; num_scales: of its model; family: of its baseline."""
    stages: list[Stage] = []
    if isinstance(entry, Rival):
        if told := entry.adaptive:
            assert family and entry.calibrate
            settings = told.scoring, family, tuple(told.survival or ())
            return (AdaptiveRivalStage(entry.baseline, (), 1, told.alpha, entry.calibrate, *settings),)
        for stage in entry.fixed:
            rival = RivalStage(entry.baseline, tuple(stages), stage.keep, stage.scoring)
            stages.append(SampledStage(**vars(rival), family=family) if family and has_samples(family) else rival)
        return tuple(stages)
    sigma, weights = spell_sigma(entry.sigma), entry.scale_weights.fit if entry.scale_weights else ""
    if adaptive := entry.adaptive:
        assert entry.calibrate is not None
        taught = entry.model, (), 1, adaptive.alpha, entry.calibrate, num_scales
        return (AdaptiveScaleStage(*taught, adaptive.samples, sigma, entry.adaptive_precision, weights=weights),)
    if certified := entry.certified:
        assert entry.calibrate is not None
        quick = ScaleStage(entry.model, (), CONTENDERS, certified.scales, 1, "", certified.precision, weights=weights)
        own = certified.scales, certified.certify.alpha, entry.calibrate
        return quick, CertifiedStage(entry.model, (quick,), 1, *own, weights=weights)
    for fixed in entry.stages:
        given = (fixed.scales, fixed.samples, sigma if fixed.samples > 1 else "", fixed.precision, fixed.guidance)
        stages.append(ScaleStage(entry.model, tuple(stages), fixed.keep, *given, weights=weights))
    return tuple(stages)


def spell_scoring(scoring: dict[str, Any]) -> str:
    """Keys and values of a rival's stage, e.g. "draws25"; "plain" where there are none."""
    return "-".join(f"{key}{value}" for key, value in sorted(scoring.items())) or "plain"


def spell_sigma(sigma: Any) -> str:
    """0.1 as "0.1"; {spread: 0.1} as "0.1spread"; None as ""."""
    if sigma is None:
        return ""
    if isinstance(sigma, Spread):
        return f"{spell_number(sigma.spread)}spread"
    return f"{spell_number(sigma['spread'])}spread" if isinstance(sigma, dict) else spell_number(sigma)


def spell_precision(precision: str) -> str:
    """As paths end with it: "-bf16"; nothing for float32."""
    return "" if precision == "float32" else f"-{precision}"


def spell_number(number: float) -> str:
    """0.10 as "0.1", 1e-3 as "0.001"."""
    return format(Decimal(str(number)).normalize(), "f")


def spell_noises(sigma: str, samples: int) -> list[str]:
    """The <noise> of so many samples: "clean", then e.g. "sigma0.1-1", "sigma0.1-2"."""
    return ["clean", *(f"sigma{sigma}-{i}" for i in range(1, samples))]
