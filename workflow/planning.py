"""The work of a run, from its config alone: what is done for which images, before any data or weights are there.

Folders are named as in results/, so that it is known what classifiers share. Imports no torch.
"""

import functools
import json
import math
import os

from varc.data.classes import data_set_classes
from varc.errors import InputError
from varc.metrics.closed_form import Shape
from varc.planning import Counted, Work, given, job_seconds, measured, memory_bytes, number_of_shards, of_rival
from workflow.families import rival_scores, spell_kept_before, spell_scoring
from workflow.naming import (
    adaptive_stage,
    architecture,
    finetuning,
    patch_nums,
    sample_folders,
    spell_adaptive,
    spell_noise,
    spell_sigma,
    stages,
    vqvae_owner,
)
from workflow.shifts import without_shifted

DIGITS_IMAGES = {"train": 973, "validation": 185, "calibration": 185, "test": 454}


class PlanError(ValueError):
    """A config that does not say what a plan needs."""


def image_count(spec, given):
    """How many images a data set has: as given, else as its config entry tells; None where only its manifest does."""
    if given is not None:
        return given
    if "ids" in spec:
        return None
    count = DIGITS_IMAGES[spec["split"]] if spec["reader"] == "digits" else math.inf
    if "per_class" in spec:
        count = min(count, spec["per_class"] * class_count(spec))
    return None if count == math.inf else count


def class_count(spec):
    """How many classes a data set has."""
    return listed_classes(spec["classes"]) if "classes" in spec else len(data_set_classes(spec))


@functools.cache
def listed_classes(path):
    """How many classes a class list has, read once."""
    return len(data_set_classes({"classes": path}))


def run_works(config, rivals):
    """All works of a run: of its classifiers, of tables that need more, and of the images that models learn from.

    rivals: (data set, classifier, its config entry) of those that are evaluated; config has the others.
    """
    pairs = sorted({(d, c) for entry in config["evaluate"] for d in entry["datasets"] for c in entry["classifiers"]})
    found = [work for dataset, name in pairs for work in classifier_works(config, dataset, name)]
    for dataset, model, sigma, samples in table_needs(config, without_shifted(pairs, config)):
        found += full_works(config, dataset, model, sigma, samples)
    for name in used_models(config, {work.model for work in found}):
        found += training_works(config, name)
    for dataset, name, entry in rivals:
        found += rival_works(config, dataset, name, entry)
    for _, _, entry in without_shifted(rivals, config):
        if "calibrate" in entry:
            found += rival_works(config, entry["calibrate"], "(tables)", entry)
    return list(dict.fromkeys(found))


def rival_works(config, dataset, name, entry):
    """The works of a rival on a data set, stage by stage. `model` tells its stages apart, since their costs differ."""
    found, classes = [], class_count(config["datasets"][dataset])
    for stage in rival_stages(entry, classes):
        who = {"dataset": dataset, "classifier": name, "model": stage["name"], "candidates": stage["candidates"]}
        folder = rival_scores(entry["baseline"], dataset, stage["stages"])
        found.append(Work(stage=f"stage{len(stage['stages'])}", rule="score_baseline", folder=folder, **who))
    return found


def rival_stages(entry, classes):
    """Per stage of a rival on data of so many classes: its name, the stages up to it, and its candidates."""
    found, candidates = [], classes
    for i, stage in enumerate(entry["stages"]):
        stages = entry["stages"][: i + 1]
        name = f"{entry['baseline']} {spell_kept_before(stages[:-1])} {spell_scoring(stage)} of {classes}"
        found.append(
            {
                "name": name,
                "baseline": entry["baseline"],
                "stages": stages,
                "candidates": candidates,
                "classes": classes,
            }
        )
        candidates = min(candidates, stage.get("keep", 1))
    return found


def classifier_works(config, dataset, name):
    """The works of a classifier on a data set, stage by stage."""
    entry = config["classifiers"][name]
    who = {"dataset": dataset, "classifier": name, "model": entry["model"]}
    folder = f"scores/{entry['model']}/{dataset}"
    candidates = class_count(config["datasets"][dataset])
    sigma = spell_sigma(entry.get("sigma"))
    if adaptive := adaptive_stage(entry):
        samples = adaptive["samples"]
        own = {"scales": num_scales(config, entry["model"]), "candidates": candidates, "samples": samples}
        folder = f"{folder}/all/{spell_adaptive(entry)}"
        work = Work(stage="stage1", rule="score_adaptive", folder=folder, **who, **own)
        return [*token_works(config, who, sigma, samples), work]
    funnel = stages(entry)
    found = token_works(config, who, sigma, max(stage.samples for stage in funnel))
    for i, stage in enumerate(funnel):
        passes = candidates + (1 if stage.guidance else 0)  # guided scores need the unconditional class too
        own = {"scales": stage.scales, "precision": stage.precision, "candidates": passes}
        before = {work.folder for work in found}
        for sample in sample_folders(funnel[:i], stage):
            if f"{folder}/{sample}" not in before:  # a smoothed stage reads an earlier stage's clean scores
                found.append(Work(stage=f"stage{i + 1}", rule="score", folder=f"{folder}/{sample}", **who, **own))
        candidates = min(candidates, stage.keep)
    return found


def token_works(config, who, sigma, samples):
    """The works that make tokens of a data set: its features, and each sample."""
    owner = vqvae_owner(config["models"], who["model"])
    below = f"{config['models'][owner].get('vqvae', owner)}/{who['dataset']}"
    who = who | {"stage": "encoder"}
    return [
        Work(rule="encode", folder=f"features/{below}", **who),
        *(Work(rule="tokenize", folder=f"tokens/{below}/{spell_noise(sigma, i)}", **who) for i in range(samples)),
    ]


def table_needs(config, pairs):
    """(dataset, model, sigma, samples) whose scores of all classes at all scales a table reads."""
    for dataset, name in pairs:
        entry = config["classifiers"][name]
        adaptive = adaptive_stage(entry)
        if adaptive or "calibrate" in entry:
            samples = (adaptive or entry["funnel"][0])["samples"]
            for images in (dataset, entry["calibrate"]):
                yield images, entry["model"], spell_sigma(entry.get("sigma")), samples
    for entry in config.get("smoothing", []):
        for dataset in entry["datasets"]:
            for model in entry["models"]:
                for sigma in entry["sigmas"]:
                    yield dataset, model, spell_sigma(sigma), max(entry["samples"])


def full_works(config, dataset, model, sigma, samples):
    """The works of scoring all classes at all scales, for a table."""
    who = {"dataset": dataset, "classifier": "(tables)", "model": model}
    scales, candidates = num_scales(config, model), class_count(config["datasets"][dataset])
    folder = f"scores/{model}/{dataset}/all/scales{scales}"
    return token_works(config, who, sigma, samples) + [
        Work(
            stage="stage1",
            rule="score",
            folder=f"{folder}/{spell_noise(sigma, i)}",
            scales=scales,
            candidates=candidates,
            **who,
        )
        for i in range(samples)
    ]


def used_models(config, names):
    """The models, and those that they are made from, each once."""
    found, queue = [], sorted(names)
    while queue:
        name = queue.pop(0)
        if name not in found:
            found.append(name)
            queue += [config["models"][name].get("finetune", name), vqvae_owner(config["models"], name)]
    return found


def training_works(config, model):
    """The works that make the tokens that a model learns from, and those that it is validated on."""
    entry, settings = config["models"][model], None
    if "finetune" in entry:
        settings = finetuning(config["models"], model)
        data = settings["data"]
    elif "train" in entry:
        data, settings = entry["train"]["data"], entry["train"]["var"]
    if settings is None:
        return []
    who = {"classifier": "(training)", "model": model}
    found = token_works(config, who | {"dataset": data}, spell_sigma(settings.get("sigma")), settings["samples"])
    if "validate" in settings:
        found += token_works(config, who | {"dataset": settings["validate"]}, "", 1)
    return found


def num_scales(config, model):
    return len(patch_nums(config["models"], model))


def known_shards(config, rivals, given_images, rates, note):
    """The number of shards: as the config says; for auto the one that the run began with, else see auto_shards."""
    if config["shards"] != "auto":
        return config["shards"]
    return noted_shards(note) or auto_shards(config, rivals, given_images, rates)


def noted_shards(note):
    """The number of shards that a run began with, from the file that it left; None where it has not begun, and where
    the file is damaged: a real run stops then (workflow.sources.unfit_folder), and a plan needs no such file."""
    try:
        with open(note, encoding="utf-8") as file:
            return json.load(file)["shards"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def auto_shards(config, rivals, given_images, rates):
    """The number of shards for `shards: auto`; None where no rate is known yet.

    rivals: as run_works takes them; they count where rates were measured. given_images: of each data set, None where
    none are given. rates: the path of the run's measured rates, which count where the config gives none. Raises
    PlanError where the config does not tell how many images a data set has, or the shape of a model.
    """
    rate = config_rate(config, rates)
    if rate is None:
        return None
    works = run_works(config, rivals)
    if "gflops_per_second" in config:
        works = [work for work in works if not of_rival(work)]
    images, shapes = known_images(works, config, given_images), known_shapes(works, config, rates)
    for name, count in images.items():
        if count is None:
            raise PlanError(f"datasets: {name}: images is missing; shards: auto needs it")
    for name, shape in shapes.items():
        if shape is None and name not in config["models"]:
            raise PlanError(f"{rates} has no cost of {name}; delete it, and plan again")
        if shape is None:
            raise PlanError(f"models: {name}: architecture is missing; shards: auto needs it")
    return number_of_shards(works, shapes, images, rate)


def job_needs(config, rivals, given_images, rates, shards):
    """rule -> (bytes, seconds) that its largest and its longest job take; no bytes for rivals.

    Only of rules that are planned, and of these only where the config tells images and shapes and a rate is known.
    """
    try:
        rate = config_rate(config, rates)
    except PlanError:
        return {}
    if rate is None:
        return {}
    works, found = run_works(config, rivals), {}
    images, shapes = known_images(works, config, given_images), known_shapes(works, config, rates)
    for rule in {work.rule for work in works}:
        own = [work for work in works if work.rule == rule]
        if any(images[work.dataset] is None or shapes[work.model] is None for work in own):
            continue
        jobs = [(work, shapes[work.model], math.ceil(images[work.dataset] / shards)) for work in own]
        try:
            memory = None if rule == "score_baseline" else max(memory_bytes(*job) for job in jobs)
            found[rule] = memory, max(job_seconds(*job, rate) for job in jobs)
        except InputError:  # the config has changed since the rates were measured
            continue
    return found


def known_images(works, config, given_images):
    """data set -> how many images it has, None where the config does not tell."""
    names = dict.fromkeys(work.dataset for work in works)
    return {name: image_count(config["datasets"][name], given_images[name]) for name in names}


def known_shapes(works, config, rates):
    """model -> its shape, None where the config does not tell; of a rival's stage what was counted with the rates."""
    own = dict.fromkeys(work.model for work in works if not of_rival(work))
    shapes = {name: architecture(config["models"], name) for name in own}
    counted = {} if "gflops_per_second" in config else rates_file(rates).get("counted", {})
    stages = dict.fromkeys(work.model for work in works if of_rival(work))
    return {name: shape and Shape.of(shape) for name, shape in shapes.items()} | {
        name: Counted(*counted[name]) if name in counted else None for name in stages
    }


def config_rate(config, rates):
    """What a device computes: the rate in the config, else those measured, else None.

    Raises PlanError for measured rates that can't be read.
    """
    if "gflops_per_second" in config:
        return given(config["gflops_per_second"])
    record = rates_file(rates)
    try:
        return measured(record) if record else None
    except (KeyError, TypeError):
        raise PlanError(f"{rates}: damaged; delete it, and plan again") from None


def rates_file(rates):
    """What a run's measured rates say; empty where there are none. Raises PlanError where they can't be read."""
    if not os.path.isfile(rates):
        return {}
    try:
        with open(rates, encoding="utf-8") as file:
            return dict(json.load(file))
    except (ValueError, TypeError):
        raise PlanError(f"{rates}: damaged; delete it, and plan again") from None
