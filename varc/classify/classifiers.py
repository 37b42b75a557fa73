"""Classifiers that take any picture: a VAR's, with fixed stages or an adaptive funnel, and rivals.

They call what the jobs of a run call, on pictures that are prepared as the run's, so that a picture of the run gets the
scores that it has there.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn
from tqdm import tqdm

from varc.baselines.family import Family
from varc.baselines.family import Images as RivalImages
from varc.baselines.stages import stage_scores
from varc.classify.pictures import AnyImages, Images, OneImage, Picture, default_id, pictures
from varc.classify.results import Classification, ClassScore
from varc.data.shifts import shifted
from varc.errors import InputError
from varc.explain.pixels import Settings, model_pixels
from varc.models.pair import Pair
from varc.models.scales import tokens_at
from varc.models.var import VAR
from varc.planning import images_at_once
from varc.prefetch import LOADERS, ahead
from varc.scoring.adaptive import AdaptiveScores, final_order
from varc.scoring.certified import certified_scores
from varc.scoring.funnel import Scores, best_first
from varc.scoring.likelihood import score
from varc.scoring.progressive import adaptive_scores, score_chosen
from varc.scoring.smoothing import encode, tokenize
from varc.scoring.spelling import FixedStage
from varc.scoring.stages import funnel_scores

if TYPE_CHECKING:
    from varc.explain.one import Explanation

AT_ONCE = 2**13  # pairs of image and class, about, that are classified together
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Ranked(NamedTuple):
    """All candidates (N, M) of N images, or (M,) of one, best first."""

    class_ids: NDArray[np.integer]
    log_likelihood: Floats
    fell_at: NDArray[np.integer]  # the stage or step that dropped it, from 1; 0 where it reached the end


@dataclass(frozen=True)
class Classifier:
    """What all classifiers have; varc.load makes them."""

    names: Mapping[int, str]
    """class_id -> name, of all candidates."""
    side: int
    """Pixels per side of the images that the model takes."""
    settings: Settings | None
    """How pictures are prepared; see varc.explain.pixels.model_pixels. With a `shift`, they are shifted."""
    seed: int
    device: torch.device
    temperature: float | None = None
    """Of the softmax; None where none was fitted: it is 1 then, and the probabilities are not calibrated."""
    known: Sequence[Images] = field(default=(), repr=False)
    """The run's data sets, whose pictures have its image_ids."""

    def classify(
        self,
        images: AnyImages,
        top: int = 5,
        ids: Sequence[str] | None = None,
        *,
        progress: bool | None = None,
    ) -> list[Classification]:
        """The best classes of each picture, in their order.

        images: one picture or several: paths, PIL pictures, uint8 arrays (H, W), (H, W, 3) or (N, H, W, 3); with a run
        also the image_ids of its images. top: how many classes; all where there are fewer. ids: the image_id of each,
        which seeds noise; without it a path below the root of a run's data set has the one that it has there, and other
        pictures that of their pixels (varc.classify.pictures.default_id). A picture with the run's image_id gets the
        run's scores. progress: whether a bar is shown; None: on a terminal, where there is much to do.

        Raises InputError for what is no picture, and for pictures that do not fit the settings.
        """
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise InputError(f"top is {top!r}; expected a whole number from 1 on")
        given = pictures(images, ids, self.known)
        size = max(1, min(AT_ONCE // len(self.names), images_at_once(self.side)))
        parts = [given[i : i + size] for i in range(0, len(given), size)]
        shown = len(parts) > 1 and sys.stderr.isatty() if progress is None else progress
        found: list[Classification] = []
        with tqdm(total=len(given), unit="image", disable=not shown) as bar:
            for prepared in ahead(self.prepare, parts, LOADERS, LOADERS):
                found += self.classified(*prepared, top)
                bar.update(len(prepared[0]))
        return found

    def explain(
        self, image: OneImage, target: int | None = None, against: int | str = "runner_up", image_id: str | None = None
    ) -> "Explanation":
        """Where a VAR looks: TMI maps of a picture in nats, target told from another class.

        target: a class_id; None: what this classifier predicts. against: a class_id, "unconditional", or "runner_up",
        the best class other than the target. image_id: as `ids` of classify. Raises InputError for a classifier without
        a VAR, a class that the model lacks, and as classify does.
        """
        raise InputError("the classifier is a rival, which has no tokens to explain; name one that has a model")

    def prepare(self, part: Sequence[Picture]) -> tuple[list[str], NDArray[np.object_], Pixels]:
        """Names, image_ids and pixels (N, side, side, 3) of pictures, as the model takes them."""
        shift = (self.settings or {}).get("shift")
        plain = [model_pixels(one.open(), self.side, self.settings, one.name) for one in part]
        ids = [one.image_id or default_id(pixels) for one, pixels in zip(part, plain, strict=True)]
        pixels = shifted(np.stack(plain), ids, **shift) if shift else np.stack(plain)
        return [one.name for one in part], np.array(ids, object), pixels

    def classified(
        self, names: Sequence[str], ids: NDArray[np.object_], pixels: Pixels, top: int
    ) -> Iterator[Classification]:
        """What classify says of prepared pictures."""
        ranked = self.rank(pixels, ids)
        for i, (name, image_id) in enumerate(zip(names, ids, strict=True)):
            yield self.classification(name, image_id, Ranked(*(part[i] for part in ranked)), top)

    def classification(self, name: str, image_id: str, ranked: Ranked, top: int) -> Classification:
        """What classify says of one picture, whose candidates (M,) are ranked."""
        class_ids, scores, fell_at = ranked
        last = int((fell_at == 0).sum())  # those that reached the end come first
        probability = softmax(scores[:last] / (self.temperature or 1.0)) if last > 1 else []
        classes = [
            ClassScore(
                int(class_ids[i]),
                self.names[int(class_ids[i])],
                float(scores[i]),
                float(probability[i]) if i < len(probability) else None,
                int(fell_at[i]) or None,
            )
            for i in range(min(top, len(class_ids)))
        ]
        margin = float(scores[0] - scores[1]) if last > 1 else None
        return Classification(name, image_id, tuple(classes), margin, self.temperature is not None)

    @property
    def candidates(self) -> NDArray[np.int32]:
        """All class_ids (M,), ascending."""
        return np.array(sorted(self.names), np.int32)

    @property
    def probability(self) -> str:
        """What the probabilities are, in words."""
        if self.temperature is None:
            return "softmax over the classes that reach the end of the funnel; not calibrated"
        return f"softmax over all classes at temperature {self.temperature:.4g}, fitted on calibration images"

    def rank(self, pixels: Pixels, ids: NDArray[np.object_]) -> Ranked:
        """All candidates of prepared images (N, side, side, 3), best first."""
        raise NotImplementedError


def ranked_stages(stages: Sequence[Scores], keeps: Sequence[int]) -> Ranked:
    """All candidates of a funnel's stages: those of the last stage, then what each stage dropped, the last ones first.

    Of a class that fell the log-likelihood is that of the stage that dropped it."""
    parts = []
    for i in reversed(range(len(stages))):
        last = i == len(stages) - 1
        order = best_first(stages[i])[:, 0 if last else keeps[i] :]
        class_ids, scores = (
            np.take_along_axis(values, order, 1) for values in (stages[i].class_ids, stages[i].log_likelihood)
        )
        parts.append((class_ids, scores, np.full(order.shape, 0 if last else i + 1)))
    return Ranked(*(np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)))


def ranked_adaptive(
    result: AdaptiveScores, class_ids: NDArray[np.integer], drops_at: NDArray[np.integer] | None = None
) -> Ranked:
    """All candidates (M,) of an adaptive funnel: the survivors, then the others, the later dropped the better.

    drops_at (N, M): where those fell that did; by default the step.
    """
    order = final_order(result)
    fell_at = np.where(result.samples > 0, 0, result.steps if drops_at is None else drops_at)
    scores, fell = (np.take_along_axis(values, order, 1) for values in (result.log_likelihood, fell_at))
    return Ranked(class_ids[order], scores, fell)


@dataclass(frozen=True, kw_only=True)
class VARClassifier(Classifier):
    """One that scores with a VAR. Its models are on the device."""

    pair: Pair = field(repr=False)
    sigma: float | None = None
    """Of the noise of samples beyond the clean one, absolute."""

    def sampler(self, pixels: Pixels, ids: NDArray[np.object_]) -> Callable[[int], NDArray[np.uint16]]:
        """What gives the tokens (N, L) of each sample of images, made once; 0 is the clean one."""
        vqvae = self.pair.vqvae
        size = images_at_once(self.side)
        features = encode(vqvae, pixels, size, self.device)

        @functools.cache
        def sample(number: int) -> NDArray[np.uint16]:
            sigma = self.sigma if number else 0.0
            assert sigma is not None
            settings = {"sample": number, "sigma": sigma, "seed": self.seed, "batch_size": size}
            return tokenize(vqvae.quantize, features, ids.tolist(), device=self.device, **settings)  # type: ignore[arg-type]

        return sample

    def tiled(self, images: int) -> NDArray[np.int32]:
        """All candidates (N, M) of so many images."""
        return np.tile(self.candidates, (images, 1))

    def explain(
        self, image: OneImage, target: int | None = None, against: int | str = "runner_up", image_id: str | None = None
    ) -> "Explanation":
        from varc.explain.one import explain_pixels  # here, since it draws, and classifying needs no matplotlib

        (one,) = pictures([image], None if image_id is None else [image_id], self.known)
        _, ids, pixels = self.prepare([one])
        if target is None or against == "runner_up":
            order = self.rank(pixels, ids).class_ids[0].tolist()
            target = order[0] if target is None else target
            if against == "runner_up":
                others = [class_id for class_id in order if class_id != target]
                if not others:
                    raise InputError('against: there is no other class to tell it from; say "unconditional"')
                against = others[0]
        return explain_pixels(pixels[0], self.pair.vqvae, self.pair.var, target, against, self.names, self.device)


@dataclass(frozen=True, kw_only=True)
class FunnelClassifier(VARClassifier):
    """A funnel of fixed stages. weights: of each stage's scales, None where they count alike. models: the VAR in each
    precision of a stage."""

    models: Mapping[str, VAR] = field(repr=False)
    stages: Sequence[FixedStage]
    weights: Sequence[Floats | None] = field(repr=False)

    def rank(self, pixels: Pixels, ids: NDArray[np.object_]) -> Ranked:
        given = self.sampler(pixels, ids), self.tiled(len(ids)), ids, self.stages, self.weights
        found = funnel_scores(self.models, self.pair.vqvae.quantize, *given, device=self.device)
        return ranked_stages(found, [stage.keep for stage in self.stages])


@dataclass(frozen=True, kw_only=True)
class AdaptiveClassifier(VARClassifier):
    """An adaptive funnel: the VAR in its precision, thresholds (K,) in nats, so many samples at most, and the weights
    of the scales."""

    var: VAR = field(repr=False)
    thresholds: Floats
    samples: int
    weights: Floats | None = field(repr=False)

    def rank(self, pixels: Pixels, ids: NDArray[np.object_]) -> Ranked:
        sample = self.sampler(pixels, ids)
        result = adaptive_scores(
            self.var,
            self.pair.vqvae.quantize,
            [sample(i) for i in range(self.samples)],
            self.tiled(len(ids)),
            self.thresholds,
            device=self.device,
            weights=self.weights,
        )
        return ranked_adaptive(result, self.candidates)


@dataclass(frozen=True, kw_only=True)
class CertifiedClassifier(VARClassifier):
    """A certified stage: all classes at so many scales in a lower precision, which quick computes in, and in float32
    those within delta."""

    scales: int
    quick: VAR = field(repr=False)
    delta: float
    weights: Floats | None = field(repr=False)

    def rank(self, pixels: Pixels, ids: NDArray[np.object_]) -> Ranked:
        tokens = self.sampler(pixels, ids)(0)[:, : tokens_at(self.pair.var.config.patch_nums, self.scales)]
        candidates, models = self.tiled(len(ids)), (self.pair.var, self.pair.vqvae.quantize)
        result = certified_scores(
            score(self.quick, models[1], tokens, candidates, device=self.device),
            self.delta,
            lambda chosen: score_chosen(*models, tokens, candidates, chosen, device=self.device),
            self.weights,
        )
        return ranked_adaptive(result, self.candidates, drops_at=np.ones_like(result.steps))


@dataclass(frozen=True, kw_only=True)
class RivalClassifier(Classifier):
    """A rival: its family, its model, which is on the device, and its stages."""

    kind: Family = field(repr=False)
    model: nn.Module = field(repr=False)
    scorings: Sequence[Any]
    keeps: Sequence[int]

    def rank(self, pixels: Pixels, ids: NDArray[np.object_]) -> Ranked:
        images = RivalImages(pixels, ids, self.seed)
        candidates = np.tile(self.candidates, (len(ids), 1))
        return ranked_stages(
            stage_scores(self.kind, self.model, images, candidates, self.scorings, self.keeps), self.keeps
        )


@dataclass(frozen=True, kw_only=True)
class AdaptiveRivalClassifier(Classifier):
    """An adaptive stage of a rival: its family, its model, which is on the device, what it scores with, and its
    thresholds (K,) in nats."""

    kind: Any = field(repr=False)
    model: nn.Module = field(repr=False)
    adaptive: Any
    thresholds: Floats

    def rank(self, pixels: Pixels, ids: NDArray[np.object_]) -> Ranked:
        images, candidates = RivalImages(pixels, ids, self.seed), np.tile(self.candidates, (len(ids), 1))
        result = self.kind.score_adaptive(self.model, images, candidates, self.thresholds, self.adaptive)
        return ranked_adaptive(result, self.candidates)
