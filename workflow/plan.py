"""The work of a run, from its config alone: what is done for which images, before any data or weights are there."""

import math
import os
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from varc import planning
from varc.costs.closed_form import Shape
from varc.costs.memory import has_reference, labels_per_image
from varc.errors import InputError
from varc.planning import Counted, Rate, Work, of_rival
from varc.seal import read_json
from workflow.config.entry import ConfigError
from workflow.config.lineage import ancestry, architecture, var_training, vqvae_owner
from workflow.config.models import FinetunedModel
from workflow.gpu import Needs
from workflow.run import Run
from workflow.sources import stamp
from workflow.stages import (
    AdaptiveRivalStage,
    AdaptiveScaleStage,
    CertifiedStage,
    RivalStage,
    ScaleStage,
    Stage,
    spell_noises,
    spell_sigma,
)


class Plan:
    """What a run takes. Counts and shapes are None where only a manifest, or the tensors, tell them."""

    def __init__(self, run: Run):
        self.run, self.config = run, run.config

    @cached_property
    def works(self) -> list[Work]:
        """All works: of classifiers, of tables that need more, and of the images that models learn from."""
        run, found = self.run, list[Work]()
        for dataset, name in [*run.own_pairs, *run.rival_pairs]:
            found += self.funnel_works(dataset, name, run.funnels[name])
        for dataset, stage in run.table_stages():
            found += self.funnel_works(dataset, "(tables)", (stage,))
        for dataset, stage in run.looked_up(surely=True):
            found += self.funnel_works(dataset, "(explanations)", (stage,))
        for name in self.used_models():
            found += self.training_works(name)
        return list(dict.fromkeys(found))

    def used_models(self) -> list[str]:
        """The models that score, and those that they are made from, each once."""
        scorers = {stage.scorer for _, stage in self.run.wanted()} & self.config.models.keys()
        return sorted({made for name in scorers for made in ancestry(self.config.models, name)})

    def funnel_works(self, dataset: str, classifier: str, stages: tuple[Stage, ...]) -> Iterator[Work]:
        """The works of a classifier on a data set, stage by stage; a sample that another stage scores is none."""
        who: dict[str, Any] = {"dataset": dataset, "classifier": classifier}
        samples = max(stages, key=lambda stage: len(stage.noises))
        if samples.noises:
            yield from self.token_works(dataset, classifier, samples.scorer, samples.noises)
        candidates = self.config.datasets[dataset].class_count()
        for i, stage in enumerate(stages, 1):
            passes = stage.passes(candidates)
            own = {**who, "stage": f"stage{i}", "rule": stage.rule, "model": stage.scorer, "candidates": passes}
            if stage.scorer in self.config.baselines:
                for part in stage.parts:
                    yield Work(folder=part.folder(dataset), **own | {"model": self.rival_name(dataset, part)})
                candidates = min(candidates, stage.keep)
                continue
            if isinstance(stage, ScaleStage):
                own |= {"scales": stage.scales, "precision": stage.precision}
            elif isinstance(stage, AdaptiveScaleStage):
                own |= {"scales": self.config.num_scales(stage.scorer), "candidates": candidates}
                own |= {"samples": len(stage.noises), "precision": stage.precision}
            elif isinstance(stage, CertifiedStage):
                own |= {"scales": stage.scales}
            yield from (Work(folder=folder, **own) for folder in self.run.computed(dataset, stage))
            candidates = min(candidates, stage.keep)

    def token_works(self, dataset: str, classifier: str, model: str, noises: list[str]) -> Iterator[Work]:
        """The works that make tokens of a data set: its features, and each sample."""
        who: dict[str, Any] = {"dataset": dataset, "classifier": classifier, "model": model, "stage": "encoder"}
        yield Work(rule="encode", folder=f"features/{self.run.checkpoints.vqvae_of(model)}/{dataset}", **who)
        for noise in noises:
            yield Work(rule="tokenize", folder=self.run.tokens_folder(model, dataset, noise), **who)

    def training_works(self, model: str) -> Iterator[Work]:
        """The works that make the tokens that a model learns from and is validated on, and its fine-tuning."""
        settings = var_training(self.config.models, model)
        if not settings:
            return
        noises = spell_noises(spell_sigma(settings.get("sigma")), settings["samples"])
        yield from self.token_works(settings["data"], "(training)", model, noises)
        if "validate" in settings:
            yield from self.token_works(settings["validate"], "(training)", model, ["clean"])
        if isinstance(self.config.models[model], FinetunedModel):
            yield from self.finetune_works(model, settings)

    def finetune_works(self, model: str, settings: dict[str, Any]) -> Iterator[Work]:
        """Fine-tuning of a model, and its validations: before the first step, every so many, and after the last."""
        who: dict[str, Any] = {"classifier": "(training)", "model": model, "scales": self.config.num_scales(model)}
        own = {key: settings[key] for key in ("samples", "steps", "batch_size", "accumulate", "precision")}
        own |= {"dataset": settings["data"], "candidates": labels_per_image(settings)}
        own["reference"] = has_reference(settings)
        yield Work(stage="finetune", rule="finetune", folder=f"models/{model}", **who, **own)
        if dataset := settings.get("validate"):
            times = 1 + math.ceil(settings["steps"] / settings["validate_every"])
            own = {"dataset": dataset, "candidates": self.config.datasets[dataset].class_count(), "samples": times}
            own["most"] = settings.get("validate_images", 0)
            yield Work(stage="validation", rule="validate", folder=f"models/{model}/validation", **who, **own)

    def shared(self, processes: int) -> list[Work]:
        """All works, fine-tuning by so many processes."""
        return [work._replace(processes=processes) if work.rule in planning.UNSHARDED else work for work in self.works]

    def seconds_per_job(self, processes: int) -> dict[tuple[str, str], float]:
        """(rule, folder of its files) -> seconds of each of its jobs; of works whose images and shapes the config
        tells, and of none where a rate is not known.

        processes: that share a fine-tuning.
        """
        images, shapes, found = self.images(), self.shapes(), dict[tuple[str, str], float]()
        try:
            rate = self.rate()
            for work in {work.folder: work for work in self.shared(processes)}.values():
                if rate is None or images[work.dataset] is None or shapes[work.model] is None:
                    continue
                rule = "finetune" if work.rule == "validate" else work.rule  # which that job does too
                folder = self.run.path(f"models/{work.model}" if rule == "finetune" else work.folder)
                n = planning.job_images(work, images, self.run.shards)  # type: ignore[arg-type]
                seconds = planning.job_seconds(work, shapes[work.model], n, rate)
                found[rule, folder] = found.get((rule, folder), 0.0) + seconds
        except InputError:  # the config has changed since the rates were measured, or they are damaged
            return {}
        return found

    # what the rates of rivals depend on

    def rival_name(self, dataset: str, stage: Stage) -> str:
        """What tells the costs of a rival's stages apart: the stage, those before it, and the number of classes."""
        rated = stage.rated if isinstance(stage, RivalStage) else stage.name
        return f"{stage.scorer} {stage.candidates} {rated} of {self.config.datasets[dataset].class_count()}"

    def rivals(self) -> dict[str, dict[str, Any]]:
        """Name -> a rival's stage, with its baseline and what that is trained on: what its cost is counted from."""
        found = {}
        for dataset, stage in ((name, part) for name, whole in self.run.wanted() for part in whole.parts):
            if stage.scorer in self.config.baselines:
                baseline = self.config.baselines[stage.scorer]
                found[self.rival_name(dataset, stage)] = {
                    "baseline": baseline.given(),
                    "training": baseline.train and self.run.dataset(baseline.train.data),
                    **self.counted(stage, self.config.datasets[dataset].class_count()),
                }
        return found

    def counted(self, stage: Stage, classes: int) -> dict[str, Any]:
        """The stages that the cost of a rival's last one is counted from, and their candidates. An adaptive one goes at
        the speed of one of its samples; its cost is counted from `adaptive`."""
        if isinstance(stage, AdaptiveRivalStage):
            one, *others = stage.full.samples
            told = {"adaptive": stage.scoring, "samples": 1 + len(others), "survival": list(stage.survival)}
            return {"stages": [one.alone], "classes": classes, "candidates": classes, "planned": told}
        assert isinstance(stage, RivalStage)
        keeps = [each.keep for each in (*stage.before, stage)]
        counted, candidates = stage.counted, min([classes, *keeps[:-1]])
        return {
            "stages": [{**each, "keep": keep} for each, keep in zip(counted, keeps[-len(counted) :])],
            "classes": classes if len(counted) == len(keeps) else candidates,
            "candidates": candidates,
        }

    def kinds(self, processes: int) -> list[tuple[Any, ...]]:
        """The kinds of work whose rates a plan needs, each with the candidates that it is measured with."""
        most: dict[Any, int] = {}
        for work in self.shared(processes):
            if not of_rival(work):
                most[planning.kind(work)] = max(planning.measured_with(work), most.get(planning.kind(work), 0))
        return [(*each, candidates) for each, candidates in most.items()]

    def models(self) -> list[str]:
        return sorted({work.model for work in self.works if not of_rival(work)})

    def images(self) -> dict[str, int | None]:
        """Data set -> how many images it has."""
        return {work.dataset: self.config.datasets[work.dataset].count() for work in self.works}

    def listed(self) -> dict[str, tuple[str, str, str]]:
        """Data set -> its manifest, be it there or not, the stamp of what lies in its root now, and that root; of those
        whose images the config counts. Others are listed before the plan, and that job tells what has changed."""
        entries = {name: self.run.dataset(name) for name, count in self.images().items() if count is not None}
        return {
            name: (self.run.manifest(name), stamp(entry), entry["root"])
            for name, entry in entries.items()
            if "root" in entry
        }

    def shapes(self) -> dict[str, Any]:
        """Model -> its shape; of a rival's stage what was counted with the rates."""
        counted = {} if self.config.gflops_per_second else self.rates_file().get("counted", {})
        found: dict[str, Any] = {}
        for work in self.works:
            if of_rival(work):
                found[work.model] = Counted(*counted[work.model]) if work.model in counted else None
            else:
                shape = architecture(self.config.models, work.model)
                found[work.model] = shape and Shape.of(shape)
        return found

    def inputs(self) -> dict[str, Any]:
        """What the config does not tell: rates, numbers of images, shapes."""
        return {
            "rates": [] if self.config.gflops_per_second else self.run.rates,
            "manifests": [self.run.manifest(name) for name, count in self.images().items() if count is None],
            "classes": self.run.class_lists(self.images()),
            "checkpoints": self.run.checkpoints.shape_files(self.models()),
        }

    # rates

    def rate(self) -> Rate | None:
        """What a device computes: the rate in the config, else those measured, else None.

        Raises ConfigError for measured rates that can't be read.
        """
        if self.config.gflops_per_second:
            return planning.given(self.config.gflops_per_second)
        record = self.rates_file()
        return planning.measured(record) if record else None

    def rates_file(self) -> dict[str, Any]:
        """What a run's measured rates say; empty where there are none. Raises ConfigError where they can't be read."""
        if not os.path.isfile(self.run.rates):
            return {}
        try:
            record = read_json(self.run.rates)
            if record:
                planning.measured(record)
            return record
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{self.run.rates}: damaged; delete it, and plan again") from None

    def auto_shards(self) -> int | None:
        """The number of shards for `shards: auto`; None where no rate is known yet.

        Raises ConfigError where the config does not tell how many images a data set has, or the shape of a model.
        """
        rate = self.rate()
        if rate is None:
            return None
        works = [work for work in self.works if not (of_rival(work) and self.config.gflops_per_second)]
        images, shapes = self.images(), self.shapes()
        for name in dict.fromkeys(work.dataset for work in works):
            if images[name] is None:
                raise ConfigError(f"datasets: {name}: images is missing; shards: auto needs it")
        for work in works:
            if shapes[work.model] is None and of_rival(work):
                raise ConfigError(f"{self.run.rates} has no cost of {work.model}; delete it, and plan again")
            if shapes[work.model] is None:
                owner = vqvae_owner(self.config.models, work.model)
                raise ConfigError(f"models: {owner}: architecture is missing; shards: auto needs it")
        return planning.number_of_shards(works, shapes, images, rate)  # type: ignore[arg-type]

    def needs(self, processes: int) -> Needs:
        """What the largest job of each rule takes of its node, and how long the longest takes; no bytes for rivals.

        processes: that share a fine-tuning. Only of rules that are planned, and of these only where the config tells
        images and shapes and a rate is known.
        """
        try:
            rate = self.rate()
        except ConfigError:
            return {}
        if rate is None:
            return {}
        works, found = self.shared(processes), Needs()
        on_gpu = bool(self.config.gflops_per_second or self.rates_file().get("gpu_memory_bytes"))
        images, shapes, shards = self.images(), self.shapes(), self.run.shards
        full = {name: count and shards * math.ceil(count / shards) for name, count in images.items()}  # largest shards
        for rule in {work.rule for work in works} - {"validate"}:
            own = [work for work in works if work.rule == rule or (rule, work.rule) == ("finetune", "validate")]
            if any(images[work.dataset] is None or shapes[work.model] is None for work in own):
                continue
            jobs = [(w, shapes[w.model], math.ceil((images[w.dataset] or 0) / planning.parts(w, shards))) for w in own]
            try:
                memory = [need for job in jobs if (need := planning.node_bytes(*job, on_gpu)) is not None]
                found[rule] = max(memory, default=None), planning.longest_job(own, shapes, full, shards, rate)  # type: ignore[arg-type]
            except InputError:  # the config has changed since the rates were measured
                continue
        return found
