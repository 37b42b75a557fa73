"""Thresholds and temperatures come from images that nothing else has seen: no training, no choice, no evaluation. The
weights of the scales are a choice, made on images that nothing is trained or evaluated on."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from varc.data.classes import data_set_classes
from varc.data.lists import nfc, read_list
from varc.errors import InputError
from workflow.config.classifiers import Rival
from workflow.config.data import DataSet
from workflow.config.entry import ConfigError
from workflow.config.lineage import ancestry, finetuning, validated
from workflow.config.models import FinetunedModel, TrainedModel

if TYPE_CHECKING:
    from workflow.config.study import Config


def check_calibration(config: "Config") -> None:
    """Raises ConfigError where images that a classifier is calibrated on train its own model, or serve to validate one,
    to evaluate or to search."""
    for name, classifier in config.classifiers.items():
        if classifier.calibrate is None:
            continue
        for key, dataset in [*trained_on(config, name), *chosen_on(config)]:
            if share_images(config.datasets[dataset], config.datasets[classifier.calibrate]):
                own = "" if dataset == classifier.calibrate else f", which shares images with {dataset}"
                found = f"{dataset}, but classifiers: {name}: calibrate is {classifier.calibrate}{own}"
                raise ConfigError(f"{key}: {found}; calibrate on images that nothing else takes")


def check_fitted(config: "Config") -> None:
    """Raises ConfigError where images that the weights of a classifier's scales are fitted on train its own model, or
    serve to evaluate."""
    for name, classifier in config.own.items():
        if classifier.scale_weights is None:
            continue
        fit = classifier.scale_weights.fit
        for key, dataset in [*trained_on(config, name), *evaluated_on(config)]:
            if share_images(config.datasets[dataset], config.datasets[fit]):
                own = "" if dataset == fit else f", which shares images with {dataset}"
                found = f"{dataset}, but classifiers: {name}: scale_weights: fit is {fit}{own}"
                raise ConfigError(f"{key}: {found}; fit on images that are neither trained nor evaluated on")


def trained_on(config: "Config", classifier: str) -> Iterator[tuple[str, str]]:
    """The keys and data sets that the models of a classifier are trained on."""
    entry = config.classifiers[classifier]
    if isinstance(entry, Rival):
        if training := config.baselines[entry.baseline].train:
            yield f"baselines: {entry.baseline}: train: data", training.data
        return
    for name in ancestry(config.models, entry.model):
        model = config.models[name]
        if isinstance(model, TrainedModel):
            yield f"models: {name}: train: data", model.train.data
        elif isinstance(model, FinetunedModel):
            yield f"models: {name}: {model.objective}: data", finetuning(config.models, name)["data"]


def chosen_on(config: "Config") -> Iterator[tuple[str, str]]:
    """The keys and data sets whose figures choose something: a step of a model that is validated, or what the reader of
    a table takes."""
    for name, model in config.models.items():
        if isinstance(model, FinetunedModel) and (validate := model.settings.validate_):
            yield f"models: {name}: {model.objective}: validate", validate
        elif isinstance(model, TrainedModel):
            yield from ((f"models: {name}: train: {key}", dataset) for key, dataset in validated(model.train).items())
    for name, classifier in config.own.items():
        if classifier.scale_weights:
            yield f"classifiers: {name}: scale_weights: fit", classifier.scale_weights.fit
    yield from evaluated_on(config)
    for kind in ("smoothing", "explain"):
        for i, entry in enumerate(getattr(config, kind)):
            yield from ((f"{kind}: {i}: datasets", dataset) for dataset in entry.datasets)
    yield from ((f"incremental: {i}: test", entry.test) for i, entry in enumerate(config.incremental))


def evaluated_on(config: "Config") -> Iterator[tuple[str, str]]:
    """The keys and data sets on which classifiers are evaluated."""
    for i, entry in enumerate(config.evaluate):
        yield from ((f"evaluate: {i}: datasets", dataset) for dataset in entry.datasets)
    for i, shifted in enumerate(config.shifts):
        if shifted.dataset in config.datasets:  # else it is refused when its data sets are made
            yield f"shifts: {i}: dataset", shifted.dataset


def share_images(one: DataSet, other: DataSet) -> bool:
    """Whether two data sets can have an image in common, as far as their entries and lists tell: those of one source
    have, whatever is done to the images, unless they name other splits, files, folders or image_ids."""
    for key in ("reader", "labels", "files", *(["split"] if split_alike(one, other) else [])):
        values = {getattr(entry, key, None) for entry in (one, other)}
        if len(values) > 1 and None not in values:
            return False
    return same_root(one, other) and ids_meet(one, other) and folders_meet(one, other)


def same_root(one: DataSet, other: DataSet) -> bool:
    """Whether two data sets lie in one folder: in others equal image_ids are those of other images."""
    return len({os.path.realpath(getattr(entry, "root", "")) for entry in (one, other)}) == 1


def split_alike(one: DataSet, other: DataSet) -> bool:
    """Whether two data sets divide the same images in the same way, so that their splits have none in common."""
    keys = ("files", "label_column", "group_column")
    return all(getattr(one, key, None) == getattr(other, key, None) for key in keys)


def ids_meet(one: DataSet, other: DataSet) -> bool:
    """Whether two lists of image_ids have one in common; yes where there is a list too few or one can't be read yet."""
    if one.ids is None or other.ids is None or one.ids == other.ids:
        return True
    try:
        first, second = ({nfc(line.strip()) for line in read_list(ids, "ids", "ids")} for ids in (one.ids, other.ids))
    except InputError:
        return True
    return bool(first & second - {""})


def folders_meet(one: DataSet, other: DataSet) -> bool:
    """Whether two class lists that may leave out folders have one in common; yes where one can't be read yet."""
    if one.classes == other.classes or not (getattr(one, "subset", None) and getattr(other, "subset", None)):
        return True
    try:
        first, second = ({nfc(entry.folder) for entry in data_set_classes(e.params())} for e in (one, other))
    except InputError:
        return True
    return not first.isdisjoint(second)
