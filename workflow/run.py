"""A run: its stages and its files. One method per kind of file, forward only.

Rules, plans and tables ask it; nothing else spells a path below results/<run>/, and nothing reads one back.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any

from workflow.checkpoints import PARTS, Checkpoints
from workflow.config.classifiers import Classifier, Rival
from workflow.config.data import DataSet
from workflow.config.entry import ConfigError, plain_sigma
from workflow.config.lineage import ancestry, origin, var_training
from workflow.config.models import PublicModel
from workflow.config.study import Config
from workflow.prefixes import Prefixes
from workflow.sources import file_sha256
from workflow.stages import AdaptiveStage, CertifiedStage, ScaleStage, Stage, funnel, spell_noises, spell_sigma

Pair = tuple[str, str]  # a data set and a classifier
Inputs = dict[str, Any]  # of a job: name -> file or files


class Run:
    """The files of a config with so many shards. digest: the SHA-256 of a file, None where there is none. known: see
    workflow.prefixes.

    Raises ConfigError where two different computations would have one folder.
    """

    def __init__(
        self,
        config: Config,
        shards: int = 1,
        digest: Callable[[str], str | None] = file_sha256,
        known: Mapping[str, int] | None = None,
    ):
        self.config, self.shards = config, shards
        self.folder = f"results/{config.run}"
        self.checkpoints = Checkpoints(config, self.folder, digest)
        self.pairs: list[Pair] = sorted({(d, c) for e in config.evaluate for d in e.datasets for c in e.classifiers})
        self.shifted = {name: entry.dataset for entry in config.shifts for name in entry.shifted()}  # the one shifted
        self.funnels = {name: self.stages_of(entry) for name, entry in config.classifiers.items()}
        self.scored: dict[tuple[str, ...], Stage] = {}  # scorer, data set, candidates, name: the place of its scores
        self.pruned: dict[tuple[str, ...], Stage] = {}  # scorer, data set, candidates: the place of what it keeps
        for dataset, stage in [*self.wanted(), *self.looked_up()]:
            self.pruned.setdefault((stage.scorer, dataset, stage.kept), stage)
            for part in stage.parts:
                before = self.scored.setdefault((part.scorer, dataset, part.candidates, part.name), part)
                if before.computes != part.computes:
                    found = f"{before.folder(dataset)}, made by {before.computes} and by {part.computes}"
                    raise ConfigError(f"classifiers: two stages have one folder, {found}; evaluate them in two runs")
        self.recipe = cache(self.recipe_of)
        needed = [*self.wanted(), *self.looked_up(surely=True)]
        self.prefixes = Prefixes(needed, config.num_scales, self.path, self.recipe, known)
        for sample, scales in self.prefixes.shorter.values():  # files that lie there may have more scales than any now
            for k in range(scales + 1, config.num_scales(sample.scorer) + 1):
                stage = ScaleStage(sample.scorer, (), 1, k)
                self.scored.setdefault((stage.scorer, sample.dataset, stage.candidates, stage.name), stage)

    # stages

    def stages_of(self, entry: Classifier | Rival) -> tuple[Stage, ...]:
        """The stages of a classifier's entry."""
        family = self.checkpoints.family(entry.baseline) if isinstance(entry, Rival) else None
        return funnel(entry, self.num_scales(entry), family)

    def num_scales(self, entry: Any) -> int:
        return self.config.num_scales(entry.model) if hasattr(entry, "model") else 1

    def full_stage(self, model: str, sigma: str = "", samples: int = 1) -> ScaleStage:
        """The stage that scores all classes at all scales, on so many samples."""
        return ScaleStage(model, (), 1, self.config.num_scales(model), samples, sigma if samples > 1 else "")

    def is_full(self, stage: Stage) -> bool:
        """Whether a stage scores all classes at all scales, in float32, without guidance."""
        return isinstance(stage, ScaleStage) and stage.full and stage.scales == self.config.num_scales(stage.scorer)

    def calibrating_stage(self, classifier: str) -> Stage:
        """The stage whose scores of all classes calibrate a classifier: its own; of an adaptive one the full stage."""
        stage = self.funnels[classifier][0]
        return stage.full if isinstance(stage, AdaptiveStage) else stage

    def wanted(self) -> Iterator[tuple[str, Stage]]:
        """All data sets and stages that classifiers and tables need scored."""
        for dataset, name in self.pairs:
            yield from ((dataset, stage) for stage in self.funnels[name])
        yield from self.table_stages()

    def table_stages(self) -> Iterator[tuple[str, Stage]]:
        """Those that a table reads beside what classifiers score."""
        for dataset, name in self.clean(self.pairs):
            if calibrate := self.config.classifiers[name].calibrate:
                if certified := self.certified(name):
                    yield from ((calibrate, stage) for stage in (certified.quick, self.exact_stage(certified)))
                    continue
                stage = self.calibrating_stage(name)
                by_itself = name in self.config.rivals and not self.is_adaptive(name)  # it scores all classes
                own = [] if by_itself else [dataset]
                yield from ((images, stage) for images in [*own, calibrate])
        for dataset, model, sigma, counts in self.smoothing_grid():
            yield dataset, self.full_stage(model, sigma, counts[-1])
        yield from ((dataset, self.full_stage(model)) for model, dataset in self.fits())

    def fits(self) -> list[tuple[str, str]]:
        """The models whose scales are weighted, each with the data set that the weights are fitted on."""
        stages = (stage for _, name in self.own_pairs for stage in self.funnels[name])
        return sorted({(stage.scorer, stage.weights) for stage in stages if stage.weights})

    def looked_up(self, surely: bool = False) -> Iterator[tuple[str, Stage]]:
        """Those that may tell which classes to explain; surely: without those that no entry asks."""
        for entry in self.config.explain:
            if entry.looks_up or not surely:
                yield from ((dataset, self.full_stage(model)) for dataset in entry.datasets for model in entry.models)

    def recipe_of(self, model: str, dataset: str) -> str:
        """A digest of all that the config says of what a model's scores on a data set are made from."""
        models, learned = self.config.models, {dataset}
        for name in (made := ancestry(models, model)):
            settings = var_training(models, name)
            learned |= {settings[key] for key in ("data", "validate") if key in settings}
        start = origin(models, model)
        said = [
            [self.checkpoints.checkpoint(name, part) for part in (PARTS if name == start else ("vqvae",))]
            if isinstance(models[name], PublicModel)
            else models[name].given()
            for name in made
        ]
        known = [self.config.seed, said, [[name, self.dataset(name)] for name in sorted(learned)]]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def smoothing_grid(self) -> list[tuple[str, str, str, list[int]]]:
        """What tables/smoothing.csv has: data set, model, sigma as in paths, numbers of samples; each once."""
        counts: dict[tuple[str, str, str], set[int]] = {}
        for entry in self.config.smoothing:
            grid = ((d, m, spell_sigma(s)) for d in entry.datasets for m in entry.models for s in entry.sigmas)
            for key in grid:
                counts.setdefault(key, set()).update(entry.samples)
        return [(*key, sorted(found)) for key, found in sorted(counts.items())]

    @cached_property
    def noises(self) -> dict[str, tuple[Any, int]]:
        """<noise> -> sigma, a number or {"spread": number}, and sample."""
        config = self.config
        sampled: list[tuple[Any, int]] = [(entry.sigma, entry.samples) for entry in config.own.values()]
        learned = (settings for name in config.models if (settings := var_training(config.models, name)))
        sampled += [(settings.get("sigma"), settings["samples"]) for settings in learned]
        sampled += [(sigma, max(entry.samples)) for entry in config.smoothing for sigma in entry.sigmas]
        sampled += [(entry.train.sigma, entry.train.samples) for entry in config.incremental if entry.train]
        sampled += [(entry.sigma, entry.samples) for entry in config.explain]
        found: dict[str, tuple[Any, int]] = {"clean": (0.0, 0)}
        for sigma, samples in sampled:
            for i, noise in enumerate(spell_noises(spell_sigma(sigma), samples)[1:], 1):
                found[noise] = plain_sigma(sigma), i
        return found

    def clean(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Those of the pairs whose data set is none that `shifts` makes."""
        return [pair for pair in pairs if pair[0] not in self.shifted]

    @property
    def own_pairs(self) -> list[Pair]:
        return [(d, c) for d, c in self.pairs if c in self.config.own]

    @property
    def rival_pairs(self) -> list[Pair]:
        return [(d, c) for d, c in self.pairs if c in self.config.rivals]

    def is_adaptive(self, classifier: str) -> bool:
        return isinstance(self.funnels[classifier][0], AdaptiveStage)

    def certified(self, classifier: str) -> CertifiedStage | None:
        """The certified stage of a classifier, None where it has none."""
        last = self.funnels[classifier][-1]
        return last if isinstance(last, CertifiedStage) else None

    def certified_names(self) -> list[str]:
        """The names of all certified stages."""
        return sorted({stage.name for _, name in self.own_pairs if (stage := self.certified(name))})

    def adaptive_names(self) -> list[str]:
        """The names of all adaptive stages of rivals."""
        return sorted({self.funnels[name][0].name for _, name in self.rival_pairs if self.is_adaptive(name)})

    def is_open(self, classifier: str) -> bool:
        """Whether the scores alone tell how many candidates the last stage scores."""
        return self.is_adaptive(classifier) or self.certified(classifier) is not None

    def exact_stage(self, certified: CertifiedStage) -> ScaleStage:
        """The stage whose prediction a certified one gives: all classes in float32."""
        return ScaleStage(certified.scorer, (), 1, certified.scales)

    @property
    def models(self) -> list[str]:
        """The models of all classifiers that are evaluated."""
        return sorted({self.config.own[name].model for _, name in self.own_pairs})

    # files

    def path(self, below: str) -> str:
        return f"{self.folder}/{below}"

    def shards_in(self, folder: str, shard: str | None = None) -> list[str]:
        """The files of all shards in a folder, or of one."""
        return [self.path(f"{folder}/{i}.parquet") for i in (range(self.shards) if shard is None else [shard])]

    def manifest(self, dataset: str) -> str:
        return self.path(f"datasets/{dataset}.parquet")

    def checked(self, dataset: str) -> str | list[str]:
        """What says that all pictures of a data set can be decoded; nothing where none is decoded, or those that cannot
        be are left out. Shifted images are those of the data set that is shifted."""
        dataset = self.shifted.get(dataset, dataset)
        return self.path(f"checked/{dataset}.csv") if self.config.datasets[dataset].to_check else []

    def checked_shards(self, dataset: str) -> list[str]:
        return [self.path(f"checked/{dataset}/{shard}.csv") for shard in range(self.shards)]

    def all_checked(self) -> list[str]:
        """What says so of all data sets."""
        files = {file for file in map(self.checked, self.config.datasets) if isinstance(file, str)}
        return sorted(files)

    def left_out(self, dataset: str) -> str:
        return self.path(f"datasets/{dataset}_left_out.csv")

    def features(self, model: str, dataset: str, shard: str | None = None) -> list[str]:
        return self.shards_in(f"features/{self.checkpoints.vqvae_of(model)}/{dataset}", shard)

    def tokens_folder(self, model: str, dataset: str, noise: str) -> str:
        return f"tokens/{self.checkpoints.vqvae_of(model)}/{dataset}/{noise}"

    def tokens(self, model: str, dataset: str, noises: Iterable[str], shard: str | None = None) -> list[str]:
        """The token files of a data set: one sample after the other, of each all shards, or one."""
        folders = (self.tokens_folder(model, dataset, noise) for noise in noises)
        return [file for folder in folders for file in self.shards_in(folder, shard)]

    def scores(self, dataset: str, stage: Stage, shard: str | None = None) -> list[str]:
        """The score files that a stage reads: one sample after the other, of each all shards, or one."""
        shards = range(self.shards) if shard is None else [int(shard)]
        holder = self.prefixes.holder
        return [self.path(f"{holder(folder, i)}/{i}.parquet") for folder in stage.folders(dataset) for i in shards]

    def computed(self, dataset: str, stage: Stage) -> list[str]:
        """The folders of scores that a stage has made: a sample each; not those that another has, all of them."""
        own = stage.folders(dataset)[stage.reused :]
        return [f for f in own if any(self.prefixes.holder(f, shard) == f for shard in range(self.shards))]

    def reused(self, dataset: str, stage: Stage) -> float:
        """How many samples of a stage others have scored: an earlier stage, or one of all classes at more scales; of
        one that has been made in part, the share of its shards."""
        own = [(f, shard) for f in stage.folders(dataset)[stage.reused :] for shard in range(self.shards)]
        return stage.reused + sum(self.prefixes.holder(f, shard) != f for f, shard in own) / self.shards

    def full_scores(self, model: str, dataset: str, sigma: str = "", samples: int = 1) -> list[str]:
        return self.scores(dataset, self.full_stage(model, sigma, samples))

    def scale_weights(self, stage: Stage) -> str | list[str]:
        """The weights of a stage's scales; none where all count alike."""
        return self.path(f"scale_weights/{stage.scorer}/{stage.weights}.json") if stage.weights else []

    def thresholds(self, stage: AdaptiveStage) -> str:
        """The thresholds of an adaptive stage."""
        return self.path(f"thresholds/{stage.scorer}/{stage.calibrate}/{stage.name}.json")

    def delta(self, stage: CertifiedStage) -> str:
        """How far behind the best a certified stage's prediction may be in the lower precision."""
        return self.path(f"certified/{stage.scorer}/{stage.calibrate}/{stage.name}.json")

    def candidates(self, scorer: str, dataset: str, candidates: str, shard: str) -> str | list[str]:
        """The candidates that an earlier stage kept; none where a stage takes all classes."""
        return [] if candidates == "all" else self.path(f"candidates/{scorer}/{dataset}/{candidates}/{shard}.parquet")

    def predictions(self, pairs: Iterable[Pair]) -> list[str]:
        return [self.path(f"predictions/{classifier}/{dataset}.parquet") for dataset, classifier in pairs]

    def table(self, name: str) -> str:
        return self.path(f"tables/{name}")

    @property
    def rates(self) -> str:
        return self.path("rates.json")

    def shard(self, shard: str) -> int:
        return int(shard)

    # data sets

    def dataset(self, dataset: str) -> dict[str, Any]:
        """A data set's entry, as scripts take it."""
        return self.config.datasets[dataset].params()

    def roots(self) -> dict[str, dict[str, Any]]:
        """Root -> the entry of a data set that is read from it."""
        entries = (self.dataset(name) for name in self.config.datasets)
        return {entry["root"]: entry for entry in entries if "root" in entry}

    def promised(self, dataset: str) -> int:
        """How many images the config says that a data set has; 0 where it does not. Changed, it reruns nothing."""
        return self.config.datasets[dataset].images or 0

    def class_list(self, dataset: str) -> str | list[str]:
        """The class list file of a data set, where it has one."""
        return self.config.datasets[dataset].classes or []

    def class_lists(self, datasets: Iterable[str]) -> list[str]:
        """The class lists of data sets, and of those that the evaluated rivals are trained on."""
        lists = (self.config.datasets[name].classes for name in [*datasets, *self.rival_training()])
        return sorted({file for file in lists if file})

    def listing_files(self, dataset: str) -> list[str]:
        """The files that say which images a data set has, and with which labels, beside the images themselves."""
        return [file for file in self.config.datasets[dataset].lists() if os.path.exists(file)]

    def evaluated(self) -> dict[str, DataSet]:
        return {name: self.config.datasets[name] for name in sorted({dataset for dataset, _ in self.pairs})}

    def baseline_of(self, classifier: str) -> str:
        return self.config.rivals[classifier].baseline

    def family_of(self, classifier: str) -> str:
        return self.config.baselines[self.baseline_of(classifier)].family

    def rival_training(self) -> dict[str, dict[str, Any]]:
        """Data set -> its entry, of those that the evaluated rivals are trained on."""
        baselines = [self.config.baselines[self.baseline_of(name)] for _, name in self.rival_pairs]
        return {b.train.data: self.dataset(b.train.data) for b in baselines if b.train}
