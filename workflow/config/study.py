"""A whole config, and how its parts must fit together."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from varc.errors import InputError
from varc.explain.pairs import COUNTERPART, check_classes, has_counterparts, read_pairs
from workflow.config.calibration import check_calibration, check_fitted
from workflow.config.classifiers import AnyClassifier, Baseline, Classifier, Rival
from workflow.config.data import AnyDataSet, DataSet, Shift, Shifts
from workflow.config.entry import ConfigError, Entry, Name, Path, Positive, Rate, Some, Spread, either, known, parse
from workflow.config.families import check_own, check_settings, full_scoring, has, has_adaptive, scoring_of, shape_of
from workflow.config.lineage import finetuning, image_size, origin, patch_nums, validated, vqvae_owner
from workflow.config.models import FinetunedModel, Model, PublicModel, TrainedModel, VQVAETraining
from workflow.config.tables import GRADIENT_METHODS, MEAN_MASK, Evaluation, Explanation, Incremental, Judge, Smoothing


class Config(Entry):
    """A run."""

    called = "a config"
    run: Name
    """Results go to `results/<run>/`."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of training and of smoothing's noise."""
    shards: Annotated[Positive | Literal["auto"], either("a whole number from 1 on, nor auto")] = 1
    """Jobs per stage and data set; fixed for a run. `auto`: the fewest whose longest job takes 20 minutes at most, by
    `gflops_per_second`, else by the rates that `snakemake plan` measured."""
    gflops_per_second: Rate | None = None
    """Of the devices that the jobs will get, in fvcore's convention; for plans and `shards: auto` alone; default:
    measured by `snakemake plan`."""
    published: Path | None = None
    """CSV of published figures (dataset, classifier, top1, gflops), shown beside ours in columns of their own."""
    datasets: Annotated[dict[Name, AnyDataSet], Field(min_length=1)]
    models: dict[Name, Model] = Field(default_factory=dict)
    baselines: dict[Name, Baseline] = Field(default_factory=dict)
    classifiers: Annotated[dict[Name, AnyClassifier], Field(min_length=1)]
    evaluate: Some[Evaluation]
    shifts: list[Shifts] = Field(default_factory=list)
    ablation: str | None = None
    """The classifier (one stage, all scales, one sample) with which `ablation.csv` compares all others of one stage at
    all scales, in float32 and without guidance; default: no table."""
    smoothing: list[Smoothing] = Field(default_factory=list)
    incremental: list[Incremental] = Field(default_factory=list)
    judges: dict[Name, Judge] = Field(default_factory=dict)
    explain: list[Explanation] = Field(default_factory=list)

    @model_validator(mode="after")
    def check(self) -> "Config":
        for name in sorted(self.models, key=lambda name: isinstance(self.models[name], FinetunedModel)):
            self.check_model(f"models: {name}", name)  # what others are fine-tuned from first
        for name, baseline in self.baselines.items():
            self.check_baseline(f"baselines: {name}", name, baseline)
        for name, classifier in self.classifiers.items():
            self.check_classifier(f"classifiers: {name}", classifier)
        for i, entry in enumerate(self.evaluate):
            self.check_evaluated(f"evaluate: {i}", entry)
        for i, learned in enumerate(self.incremental):
            self.check_incremental(f"incremental: {i}", learned)
        if self.ablation is not None:
            self.check_ablation(self.ablation)
        for i, grid in enumerate(self.smoothing):
            known(f"smoothing: {i}: datasets", grid.datasets, self.datasets)
            self.check_scoring(f"smoothing: {i}: models", grid.models)
            for model in grid.models:
                self.check_spread(f"smoothing: {i}: sigmas", grid.sigmas, model)
        for name, judge in self.judges.items():
            known(f"judges: {name}: data", [judge.data], self.datasets)
            if name == "varc":
                raise ConfigError("judges: varc: that is the name of the explained classifier; choose another")
            if name in self.classifiers:
                raise ConfigError(f"judges: {name}: classifiers has that name too; choose another")
        for i, explained in enumerate(self.explain):
            self.check_explanation(f"explain: {i}", explained)
        check_calibration(self)
        check_fitted(self)
        return self

    @property
    def rivals(self) -> dict[str, Rival]:
        return {name: entry for name, entry in self.classifiers.items() if isinstance(entry, Rival)}

    @property
    def own(self) -> dict[str, Classifier]:
        """The classifiers that score with a VAR."""
        return {name: entry for name, entry in self.classifiers.items() if isinstance(entry, Classifier)}

    def num_scales(self, model: str) -> int:
        return len(patch_nums(self.models, model))

    def is_public(self, model: str) -> bool:
        return not isinstance(self.models[origin(self.models, model)], TrainedModel)

    def check_scoring(self, key: str, names: Iterable[str]) -> None:
        """Models that score, or are fine-tuned, must be defined and have a VAR."""
        known(key, names := list(names), self.models)
        for name in names:
            if isinstance(model := self.models[name], PublicModel) and model.var is None:
                raise ConfigError(f"{key}: model {name} has a VQ-VAE alone; give its entry in models the key var")

    def taken_size(self, classifier: str) -> tuple[str, int | None]:
        """What a classifier scores with, in words, and the size of the images that this takes, None where unknown."""
        entry = self.classifiers[classifier]
        if isinstance(entry, Rival):
            return f"baseline {entry.baseline}", self.baselines[entry.baseline].shape.image_size
        return f"model {entry.model}", image_size(self.models, entry.model)

    def check_size(self, key: str, dataset: str, taker: str, size: int | None) -> None:
        """The images of a data set must have the size that a model takes, as far as the config tells both."""
        found = self.datasets[dataset].size or size
        if size is not None and found != size:
            raise ConfigError(f"{key}: data set {dataset} has size {found}, but {taker} takes {size}")

    def check_spread(self, key: str, sigmas: Iterable[Any], model: str) -> None:
        given = isinstance(self.models[vqvae_owner(self.models, model)], PublicModel)
        if given and any(isinstance(sigma, Spread) for sigma in sigmas):
            raise ConfigError(f"{key}: spread is known for models trained here only, by their VQ-VAE; give a number")

    def check_model(self, key: str, name: str) -> None:
        model = self.models[name]
        if isinstance(model, TrainedModel):
            kind, settings, data = "train", "train", {"data": model.train.data, **validated(model.train)}
            for use, dataset in validated(model.train).items():
                if dataset == model.train.data:
                    raise ConfigError(f"{key}: train: {use}: {dataset} is trained on; name other images")
            if isinstance(vqvae := model.train.vqvae, str):
                known(f"{key}: train: vqvae", [vqvae], self.models)
                shared = self.models[vqvae]
                trains = isinstance(shared, TrainedModel) and isinstance(shared.train.vqvae, VQVAETraining)
                if not (trains or isinstance(shared, PublicModel)):
                    found = f"model {vqvae} trains no VQ-VAE of its own"
                    raise ConfigError(f"{key}: train: vqvae: {found}; name one that does, or one of given weights")
            self.check_spread(f"{key}: train: var: sigma", [model.train.var.sigma], name)
        elif isinstance(model, FinetunedModel):
            kind, settings, data = "finetune", model.objective, self.check_finetuning(key, name, model)
        else:
            return
        for use, dataset in data.items():
            known(f"{key}: {settings}: {use}", [dataset], self.datasets)
            self.check_size(f"{key}: {kind}", dataset, "the model", image_size(self.models, name))

    def check_finetuning(self, key: str, name: str, model: FinetunedModel) -> dict[str, str]:
        """The data sets that a model is fine-tuned and validated on, by their keys."""
        chain = [name]
        while isinstance(current := self.models[chain[-1]], FinetunedModel):
            self.check_scoring(f"{key}: finetune", [current.finetune])
            chain.append(current.finetune)
            if current.finetune in chain[:-1]:
                raise ConfigError(f"{key}: finetune: {' from '.join(chain)}; a chain must start somewhere else")
        where = f"{key}: {model.objective}"
        settings = finetuning(self.models, name)
        if "data" not in settings:
            raise ConfigError(f"{where}: data is missing; it is known for models trained here only")
        if settings["samples"] > 1 and "sigma" not in settings:
            raise ConfigError(f"{where}: samples {settings['samples']} needs sigma; add it")
        self.check_spread(f"{where}: sigma", [model.settings.sigma], name)
        if settings.get("validate") == settings["data"]:
            raise ConfigError(f"{where}: validate: {settings['data']} is trained on; name other images")
        if settings["data"] in self.datasets:
            check_negatives(where, settings.get("negatives", 0), self.datasets[settings["data"]])
        return {use: settings[use] for use in ("data", "validate") if use in settings}

    def check_baseline(self, key: str, name: str, baseline: Baseline) -> None:
        if name in self.models:
            raise ConfigError(f"{key}: models has that name too; choose another")
        if baseline.train:
            data = baseline.train.data
            known(f"{key}: train: data", [data], self.datasets)
            self.check_size(f"{key}: train", data, "the baseline", baseline.shape.image_size)

    def check_classifier(self, key: str, entry: Classifier | Rival) -> None:
        if entry.calibrate is not None:
            known(f"{key}: calibrate", [entry.calibrate], self.datasets)
        if isinstance(entry, Rival):
            known(f"{key}: baseline", [entry.baseline], self.baselines)
            baseline = self.baselines[entry.baseline]
            family, scorings = baseline.family, []
            for i, stage in enumerate(entry.fixed):
                check_settings(f"{key}: stages: {i}", family, "Scoring", stage.scoring)
                scorings.append(scoring_of(family, stage.scoring))
            if adaptive := entry.adaptive:
                if not has_adaptive(family):
                    raise ConfigError(f"{key}: stages: 0: family {family} has no adaptive stages; name its own keys")
                check_settings(f"{key}: stages: 0: adaptive", family, "Adaptive", adaptive.scoring)
                scorings.append(full_scoring(family, adaptive.scoring))
            check_own(f"{key}: stages", family, "check_stages", shape_of(family, baseline.shape.given()), scorings)
            return
        self.check_scoring(f"{key}: model", [entry.model])
        self.check_spread(f"{key}: sigma", [entry.sigma], entry.model)
        if entry.scale_weights:
            known(f"{key}: scale_weights: fit", [fit := entry.scale_weights.fit], self.datasets)
            size = image_size(self.models, entry.model)
            self.check_size(f"{key}: scale_weights: fit", fit, f"model {entry.model}", size)
        scales = self.num_scales(entry.model)
        told = [stage.scales for stage in entry.stages] + ([entry.certified.scales] if entry.certified else [])
        for i, own_scales in enumerate(told):
            if own_scales > scales:
                found = f"scales is {own_scales}, but model {entry.model} has {scales}"
                raise ConfigError(f"{key}: funnel: {i}: {found}")
        if entry.calibrate and entry.stages and (len(entry.funnel) > 1 or entry.stages[0].scales < scales):
            kinds = "an adaptive or certified funnel, or one stage"
            raise ConfigError(f"{key}: calibrate goes with {kinds} at all {scales} scales")

    def check_evaluated(self, key: str, entry: Evaluation) -> None:
        known(f"{key}: datasets", entry.datasets, self.datasets)
        known(f"{key}: classifiers", entry.classifiers, self.classifiers)
        for dataset in entry.datasets:
            for classifier in entry.classifiers:
                self.check_size(key, dataset, *self.taken_size(classifier))
                if self.classifiers[classifier].calibrate == dataset:
                    found = f"{classifier} is calibrated on {dataset}"
                    raise ConfigError(f"{key}: {found}; evaluate it on other images")

    def check_ablation(self, name: str) -> None:
        """The classifier that others are compared with must be evaluated, and be one stage, all scales, one sample."""
        known("ablation", [name], self.own)
        entry = self.own[name]
        scales = self.num_scales(entry.model)
        if len(entry.funnel) > 1 or entry.samples > 1 or not entry.stages or entry.stages[0].scales != scales:
            raise ConfigError(f"ablation: {name} must be one stage at all {scales} scales with one sample")
        if entry.stages[0].precision != "float32" or entry.stages[0].guidance:
            raise ConfigError(f"ablation: {name} must score in float32 and without guidance; name one that does")
        if entry.scale_weights:
            raise ConfigError(f"ablation: {name} has scale_weights; name a classifier that weights all scales alike")
        if not any(name in entry.classifiers for entry in self.evaluate):
            raise ConfigError(f"ablation: {name} is not evaluated; add it to evaluate")

    def check_incremental(self, key: str, entry: Incremental) -> None:
        known(f"{key}: data", [entry.data], self.datasets)
        known(f"{key}: test", [entry.test], self.datasets)
        known(f"{key}: classifier", [entry.classifier], self.classifiers)
        if entry.data == entry.test:
            raise ConfigError(f"{key}: test: {entry.test} is learned from; name other images")
        classifier = self.classifiers[entry.classifier]
        for strategy in entry.strategies:
            if strategy.startswith("family_") != isinstance(classifier, Rival):
                kind = "a baseline" if isinstance(classifier, Rival) else "a model"
                found = f"{strategy} does not go with {entry.classifier}"
                raise ConfigError(f"{key}: strategies: {found}, which has {kind}")
        if isinstance(classifier, Rival):
            return self.check_learning_rival(key, entry, classifier.baseline)
        model = self.models[classifier.model]
        if not (isinstance(model, FinetunedModel) and model.cca):
            found = f"model {classifier.model} is not fine-tuned by cca"
            raise ConfigError(f"{key}: classifier: {found}; name a classifier whose model is")
        if classifier.adaptive or classifier.certified:
            found = f"{entry.classifier} has {'an adaptive' if classifier.adaptive else 'a certified'} funnel"
            raise ConfigError(f"{key}: classifier: {found}; name one of fixed stages")
        if classifier.scale_weights:
            found = f"{entry.classifier} has scale_weights"
            raise ConfigError(f"{key}: classifier: {found}, of a model that has learned all; name one without them")
        for i, stage in enumerate(classifier.stages):  # learning scores in float32, without guidance
            if stage.guidance or stage.precision != "float32":
                found = f"guidance {stage.guidance}" if stage.guidance else f"precision {stage.precision}"
                found = f"{entry.classifier} has {found} in funnel: {i}"
                raise ConfigError(f"{key}: classifier: {found}; name one of plain stages in float32")
        if entry.train is None and self.is_public(classifier.model):
            raise ConfigError(f"{key}: train is missing; it is known for models trained here only")
        if entry.train:
            self.check_spread(f"{key}: train: sigma", [entry.train.sigma], classifier.model)

    def check_learning_rival(self, key: str, entry: Incremental, name: str) -> None:
        """A rival that learns task by task is trained here, by its own settings."""
        baseline = self.baselines[name]
        if baseline.train is None:
            raise ConfigError(f"{key}: classifier: baseline {name} has public weights; name one that is trained here")
        if has(baseline.family, "TOKENISER"):
            found = f"family {baseline.family} trains a tokeniser, whose tokens would change with each task"
            raise ConfigError(f"{key}: classifier: {found}; name another")
        if self.rivals[entry.classifier].adaptive:
            raise ConfigError(f"{key}: classifier: {entry.classifier} has an adaptive stage; name one of fixed stages")
        if entry.train:
            raise ConfigError(f"{key}: train does not go with a baseline; baselines: {name}: train says it")
        for dataset in (entry.data, entry.test):
            self.check_size(key, dataset, f"baseline {name}", baseline.shape.image_size)

    def check_explanation(self, key: str, entry: Explanation) -> None:
        known(f"{key}: datasets", entry.datasets, self.datasets)
        self.check_scoring(f"{key}: models", entry.models)
        if entry.pairs:
            self.check_pairs(key, entry)
        one_stage = {name: rival for name, rival in self.rivals.items() if len(rival.fixed) == 1}
        known(f"{key}: faithfulness: judges", entry.judges, {**self.judges, **one_stage})
        for method in (found for found in entry.methods if found in GRADIENT_METHODS):
            if entry.judges[0] in self.rivals:
                family = self.baselines[self.rivals[entry.judges[0]].baseline].family
                if not has(family, "CAM_LAYER"):
                    found = f"explains a network, but {entry.judges[0]} is of family {family}"
                    raise ConfigError(f"{key}: {method} {found}; name another first")
        for model in entry.models:
            self.check_spread(f"{key}: sigma", [entry.sigma], model)
            size = image_size(self.models, model)
            for dataset in entry.datasets:
                self.check_size(key, dataset, f"model {model}", size)
            for name in entry.judges:
                if name in self.judges:
                    self.check_size(f"{key}: judge {name}", self.judges[name].data, f"model {model}", size)
                elif size is not None and (own := self.taken_size(name)[1]) != size:
                    taken = f"takes images of {own} pixels, but model {model} takes {size}"
                    raise ConfigError(f"{key}: judge {name}: {taken}")

    def check_pairs(self, key: str, entry: Explanation) -> None:
        """A file of pairs must be right by itself, and its classes be those of the data sets; the rule `pairs` looks
        for the images."""
        assert entry.pairs is not None
        try:
            pairs = read_pairs(entry.pairs)
            for dataset in entry.datasets:
                check_classes(entry.pairs, pairs, self.datasets[dataset].class_ids())
        except InputError as error:
            raise ConfigError(f"{key}: pairs: {error}") from None
        if not has_counterparts(pairs):
            for what, asked in (("gallery", entry.gallery), (MEAN_MASK, MEAN_MASK in entry.methods)):
                if asked:
                    found = f"{entry.pairs} has no column {COUNTERPART}, from which {what} is made"
                    raise ConfigError(f"{key}: pairs: {found}; add it, or take {what} away")


def in_order(value: Any) -> Any:
    """The same config with every mapping's keys sorted, so that their order in the file makes nothing rerun."""
    if isinstance(value, Mapping):
        return {key: in_order(value[key]) for key in sorted(value, key=str)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


def check_negatives(key: str, negatives: int, data: DataSet) -> None:
    """There must be as many other classes as a label is told from, as far as the class list can be read yet."""
    try:
        classes = data.class_count() if negatives else math.inf
    except InputError:
        return
    if negatives >= classes:
        found = f"negatives: {negatives}, but of {classes} classes {classes - 1} are others than the label"
        raise ConfigError(f"{key}: {found}; give at most so many")


def read_config(given: Any) -> Config:
    """The config from what its files hold, with the data sets and pairs that `shifts` makes. Raises ConfigError."""
    return expanded(parse(Config, in_order(given)))


def expanded(config: Config) -> Config:
    """The config with the data sets that `shifts` makes, and the pairs that it evaluates. Raises ConfigError for an
    entry that contradicts the rest of the config."""
    made, pairs, seen = {}, [], set()
    for i, entry in enumerate(config.shifts):
        key = f"shifts: {i}"
        known(f"{key}: dataset", [entry.dataset], config.datasets)
        known(f"{key}: classifiers", entry.classifiers, config.classifiers)
        clean = config.datasets[entry.dataset]
        if clean.shift:
            raise ConfigError(f"{key}: dataset: {entry.dataset} has a shift already; name the data set without it")
        if entry.dataset in seen:
            raise ConfigError(f"{key}: dataset: {entry.dataset} is in an entry before; make one entry of the two")
        seen.add(entry.dataset)
        for name, (shift, severity) in entry.shifted().items():
            if name in config.datasets:
                raise ConfigError(f"{key}: makes the data set {name}, which is there already; name that one otherwise")
            made[name] = clean.model_copy(update={"shift": Shift.model_validate({"name": shift, "severity": severity})})
        names = [entry.dataset, *entry.shifted()]
        pairs.append(Evaluation(datasets=names, classifiers=entry.classifiers))
    if not made:
        return config
    datasets = dict(sorted({**config.datasets, **made}.items()))
    whole = config.model_copy(update={"datasets": datasets, "evaluate": [*config.evaluate, *pairs]})
    for i, pair in enumerate(pairs):
        whole.check_evaluated(f"shifts: {i}", pair)
    return whole
