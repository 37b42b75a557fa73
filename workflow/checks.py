"""What a config must fulfil beyond its schema. Each message names the key, what was found, and what to do."""

from itertools import pairwise
from pathlib import PurePath

import yaml
from jsonschema import Draft202012Validator

from varc.models.architectures import ARCHITECTURES
from workflow.check_baselines import (
    check_baseline,
    check_baseline_classifier,
    check_learning_baseline,
    check_strategies,
)
from workflow.families import has_function
from workflow.mistakes import ConfigError, check_size, known
from workflow.naming import explanations, finetuning, image_size, learning_runs, origin, patch_nums

GRADIENTS = {"gradient_shap", "saliency", "grad_cam"}
BUDGETED = {"lime", "kernel_shap", "gradient_shap"}
ANY_READER = {"classes", "size", "resize", "border", "ids", "per_class", "images", "shift"}
PICTURES = {"root", "classes", "size"}
READER_KEYS = {  # required, optional
    "digits": ({"split"}, ANY_READER),
    "idx": ({"root", "split", "classes"}, ANY_READER),
    "image_folder": (PICTURES, ANY_READER | {"subset"}),
    "labels_file": (PICTURES | {"labels"}, ANY_READER | {"subset"}),
    "objectnet": (PICTURES, ANY_READER),
    "webdataset": (PICTURES, ANY_READER | {"subset"}),
    "parquet": (PICTURES, ANY_READER | {"subset"}),
}


def schema_mistake(config, schema):
    """The first way in which a config does not fit the schema file: where, and what; None where it fits."""
    with open(schema, encoding="utf-8") as file:
        validator = Draft202012Validator(yaml.safe_load(file))
    errors = sorted(validator.iter_errors(config), key=lambda error: [str(part) for part in error.absolute_path])
    if not errors:
        return None
    where = "".join(f"{part}: " for part in errors[0].absolute_path)
    if errors[0].validator == "anyOf":
        return f"{where}{errors[0].instance!r} is not {errors[0].schema['title']}"
    return where + errors[0].message


def in_order(value):
    """The same config with every mapping's keys sorted, so that their order in the file makes nothing rerun."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [in_order(item) for item in value]
    return value


def check(config):
    """Raises ConfigError for the first mistake found."""
    for name, dataset in config["datasets"].items():
        check_dataset(f"datasets: {name}", dataset)
    for name in config["models"]:
        check_model(f"models: {name}", name, config["models"], config["datasets"])
    for name, baseline in config.get("baselines", {}).items():
        check_baseline(f"baselines: {name}", name, baseline, config)
    for name, classifier in config["classifiers"].items():
        if "baseline" in classifier:
            check_baseline_classifier(f"classifiers: {name}", classifier, config.get("baselines", {}))
        else:
            check_classifier(f"classifiers: {name}", classifier, config["models"])
        if "calibrate" in classifier:
            known(f"classifiers: {name}: calibrate", [classifier["calibrate"]], config["datasets"])
    for i, entry in enumerate(config["evaluate"]):
        known(f"evaluate: {i}: datasets", entry["datasets"], config["datasets"])
        known(f"evaluate: {i}: classifiers", entry["classifiers"], config["classifiers"])
        for dataset in entry["datasets"]:
            for classifier in entry["classifiers"]:
                check_size(f"evaluate: {i}", dataset, config["datasets"], *taken_size(classifier, config))
                if config["classifiers"][classifier].get("calibrate") == dataset:
                    raise ConfigError(
                        f"evaluate: {i}: {classifier} is calibrated on {dataset}; evaluate it on other images"
                    )
    for i, entry in enumerate(config.get("incremental", [])):
        check_incremental(f"incremental: {i}", entry, config)
    check_learned_once(config)
    if "ablation" in config:
        check_ablation(config["ablation"], config)
    for i, entry in enumerate(config.get("smoothing", [])):
        known(f"smoothing: {i}: datasets", entry["datasets"], config["datasets"])
        known(f"smoothing: {i}: models", entry["models"], config["models"])
        for model in entry["models"]:
            if any(isinstance(sigma, dict) for sigma in entry["sigmas"]):
                check_spread(f"smoothing: {i}: sigmas", config["models"], model)
    for name, judge in config.get("judges", {}).items():
        known(f"judges: {name}: data", [judge["data"]], config["datasets"])
        if name == "varc":
            raise ConfigError("judges: varc: that is the name of the explained classifier; choose another")
        if name in config["classifiers"]:
            raise ConfigError(f"judges: {name}: classifiers has that name too; choose another")
    for i, entry in enumerate(config.get("explain", [])):
        check_explanation(f"explain: {i}", entry, config)
    check_explained_once(config)


def taken_size(classifier, config):
    """What a classifier scores with, in words, and the size of the images that this takes, None where it is unknown."""
    entry = config["classifiers"][classifier]
    if "baseline" in entry:
        return f"baseline {entry['baseline']}", config["baselines"][entry["baseline"]]["shape"]["image_size"]
    return f"model {entry['model']}", image_size(config["models"], entry["model"])


def of_models(classifiers):
    """The classifiers that score with a VAR, by name; the others are of a baseline."""
    return {name: entry for name, entry in classifiers.items() if "model" in entry}


def check_dataset(key, dataset):
    required, optional = READER_KEYS[dataset["reader"]]
    given = set(dataset) - {"reader"}
    for missing in sorted(required - given):
        raise ConfigError(f"{key}: {missing} is missing; reader {dataset['reader']} needs it")
    for extra in sorted(given - required - optional):
        raise ConfigError(f"{key}: {extra} is no key of reader {dataset['reader']}; take it away")
    if "resize" in dataset and dataset["resize"] < dataset.get("size", float("inf")):
        found = f"resize {dataset['resize']} and size {dataset.get('size', 'absent')}"
        raise ConfigError(f"{key}: {found}; resize needs a size, and must be at least as large")


def check_model(key, name, models, datasets):
    model = models[name]
    kind = "train" if "train" in model else "finetune"
    if kind not in model:
        check_checkpoint(key, model)
        return
    for extra in sorted(set(model) - {kind} - ({"cca", "cross_entropy"} if kind == "finetune" else set())):
        raise ConfigError(f"{key}: {extra} does not go with {kind}; take one of them away")
    if kind == "train":
        check_training(f"{key}: train", model["train"], models, datasets)
        data = [model["train"]["data"]]
    else:
        check_finetuning(key, name, models, datasets)
        settings = finetuning(models, name)
        data = [settings["data"], *([settings["validate"]] if "validate" in settings else [])]
    for dataset in data:
        check_size(f"{key}: {kind}", dataset, datasets, "the model", image_size(models, name))


def check_training(key, train, models, datasets):
    known(f"{key}: data", [train["data"]], datasets)
    vqvae, var = train["vqvae"], train["var"]
    if isinstance(vqvae, str):
        known(f"{key}: vqvae", [vqvae], models)
        if not isinstance(models[vqvae].get("train", {}).get("vqvae"), dict):
            raise ConfigError(f"{key}: vqvae: model {vqvae} trains no VQ-VAE of its own; name one that does")
    else:
        check_vqvae(f"{key}: vqvae", vqvae)
    if var["width"] % var["heads"]:
        raise ConfigError(f"{key}: var: heads {var['heads']} does not divide width {var['width']}")
    if var["samples"] > 1 and "sigma" not in var:
        raise ConfigError(f"{key}: var: samples {var['samples']} needs sigma; add it")


def check_vqvae(key, vqvae):
    patch_nums = vqvae["patch_nums"]
    if any(a >= b for a, b in pairwise(patch_nums)):
        raise ConfigError(f"{key}: patch_nums are {patch_nums}; each must be larger than the one before")
    if any(vqvae["ch"] * mult % vqvae["norm_groups"] for mult in vqvae["ch_mult"]):
        found = f"ch {vqvae['ch']}, ch_mult {vqvae['ch_mult']}, norm_groups {vqvae['norm_groups']}"
        raise ConfigError(f"{key}: {found}; norm_groups must divide the channels of every level")


def check_finetuning(key, name, models, datasets):
    before = [name]
    while "finetune" in models[before[-1]]:
        base = models[before[-1]]["finetune"]
        known(f"{key}: finetune", [base], models)
        if base in before:
            raise ConfigError(f"{key}: finetune: {' from '.join([*before, base])}; a chain must start somewhere else")
        before.append(base)
    if ("cca" in models[name]) == ("cross_entropy" in models[name]):
        raise ConfigError(f"{key}: finetune goes with either cca or cross_entropy; give one of them")
    objective = "cca" if "cca" in models[name] else "cross_entropy"
    settings = finetuning(models, name)
    if "data" not in settings:
        raise ConfigError(f"{key}: {objective}: data is missing; it is known for models trained here only")
    known(f"{key}: {objective}: data", [settings["data"]], datasets)
    if settings["samples"] > 1 and "sigma" not in settings:
        raise ConfigError(f"{key}: {objective}: samples {settings['samples']} needs sigma; add it")
    if isinstance(settings.get("sigma"), dict):
        check_spread(f"{key}: {objective}: sigma", models, name)
    if ("validate" in settings) != ("validate_every" in settings):
        raise ConfigError(f"{key}: {objective}: validate and validate_every go together; give both or none")
    if "validate" in settings:
        known(f"{key}: {objective}: validate", [settings["validate"]], datasets)
        if settings["validate"] == settings["data"]:
            raise ConfigError(f"{key}: {objective}: validate: {settings['data']} is trained on; name other images")
    if settings["batch_size"] % settings["accumulate"]:
        found = f"accumulate {settings['accumulate']} does not divide batch_size {settings['batch_size']}"
        raise ConfigError(f"{key}: {objective}: {found}")


def check_checkpoint(key, model):
    for missing in sorted({"vqvae", "var"} - set(model)):
        raise ConfigError(
            f"{key}: {missing} is missing; a model has either train, or finetune, or the files vqvae and var"
        )
    if "architecture" in model and model["architecture"] not in ARCHITECTURES:
        names = ", ".join(sorted(ARCHITECTURES))
        raise ConfigError(f"{key}: architecture: {model['architecture']!r} is not known; known are {names}")
    if "architecture" in model and "patch_nums" in model:
        raise ConfigError(f"{key}: patch_nums follow from architecture; take one of them away")
    if "hub" in model and set(model.get("sha256", {})) != {"vqvae", "var"}:
        raise ConfigError(f"{key}: hub needs sha256: {{vqvae: ..., var: ...}}, so that what is downloaded is checked")
    for part in ("vqvae", "var") if "hub" in model else ():
        if ".." in PurePath(model[part]).parts:
            found = f"{model[part]}: a file to be downloaded must not lie above the project"
            raise ConfigError(f"{key}: {part}: {found}; give a path without ..")


def check_classifier(key, classifier, models):
    known(f"{key}: model", [classifier["model"]], models)
    scales = len(patch_nums(models, classifier["model"]))
    if isinstance(classifier.get("sigma"), dict):
        check_spread(f"{key}: sigma", models, classifier["model"])
    if any("adaptive" in stage for stage in classifier["funnel"]):
        check_adaptive(key, classifier)
        return
    keep = None
    for i, stage in enumerate(classifier["funnel"]):
        where = f"{key}: funnel: {i}"
        for missing in sorted({"scales", "keep"} - set(stage)):
            raise ConfigError(f"{where}: {missing} is missing; a stage has scales and keep, or adaptive")
        if stage["scales"] > scales:
            raise ConfigError(f"{where}: scales is {stage['scales']}, but model {classifier['model']} has {scales}")
        if keep is not None and stage["keep"] >= keep:
            raise ConfigError(f"{where}: keep is {stage['keep']} after {keep}; it must fall from stage to stage")
        if stage["samples"] > 1 and "sigma" not in classifier:
            raise ConfigError(f"{where}: samples is {stage['samples']}, but {key} has no sigma; add it")
        if "guidance" in stage and (len(classifier["funnel"]) > 1 or stage["samples"] > 1 or "calibrate" in classifier):
            raise ConfigError(f"{where}: guidance goes with one stage of one sample, without calibrate")
        if "guidance" in stage and stage["precision"] != "float32":
            raise ConfigError(f"{where}: precision {stage['precision']} does not go with guidance; take it away")
        keep = stage["keep"]
    if "calibrate" in classifier and (len(classifier["funnel"]) > 1 or classifier["funnel"][0]["scales"] < scales):
        raise ConfigError(f"{key}: calibrate goes with an adaptive funnel, or one stage at all {scales} scales")
    if keep != 1:
        raise ConfigError(f"{key}: funnel: the last stage has keep {keep}; it must be 1, the prediction")


def check_ablation(name, config):
    """The classifier that others are compared with must be evaluated, and be one stage, all scales, one sample."""
    known("ablation", [name], of_models(config["classifiers"]))
    classifier = config["classifiers"][name]
    stage, scales = classifier["funnel"][0], len(patch_nums(config["models"], classifier["model"]))
    if len(classifier["funnel"]) > 1 or stage.get("scales") != scales or stage["samples"] > 1:
        raise ConfigError(f"ablation: {name} must be one stage at all {scales} scales with one sample")
    if not any(name in entry["classifiers"] for entry in config["evaluate"]):
        raise ConfigError(f"ablation: {name} is not evaluated; add it to evaluate")


def check_incremental(key, entry, config):
    known(f"{key}: data", [entry["data"]], config["datasets"])
    known(f"{key}: test", [entry["test"]], config["datasets"])
    known(f"{key}: classifier", [entry["classifier"]], config["classifiers"])
    if entry["data"] == entry["test"]:
        raise ConfigError(f"{key}: test: {entry['test']} is learned from; name other images")
    classifier = config["classifiers"][entry["classifier"]]
    check_strategies(key, entry, classifier)
    if "baseline" in classifier:
        return check_learning_baseline(key, entry, config)
    models, model = config["models"], classifier["model"]
    if "cca" not in models[model]:
        raise ConfigError(
            f"{key}: classifier: model {model} is not fine-tuned by cca; name a classifier whose model is"
        )
    if "adaptive" in classifier["funnel"][0]:
        raise ConfigError(f"{key}: classifier: {entry['classifier']} has an adaptive funnel; name one of fixed stages")
    if "train" not in entry and "train" not in models[origin(models, model)]:
        raise ConfigError(f"{key}: train is missing; it is known for models trained here only")


def check_learned_once(config):
    """No two entries of `incremental` may write the same files."""
    seen = set()
    for entry, tasks, strategy in learning_runs(config):
        found = (entry["test"], entry["classifier"], tasks, strategy)
        if found in seen:
            raise ConfigError(
                f"incremental: {strategy} of {entry['classifier']} on {entry['test']} in {tasks} tasks is there twice; "
                f"take one away"
            )
        seen.add(found)


def check_explanation(key, entry, config):
    known(f"{key}: datasets", entry["datasets"], config["datasets"])
    known(f"{key}: models", entry["models"], config["models"])
    judges = entry.get("faithfulness", {}).get("judges", [])
    known(f"{key}: faithfulness: judges", judges, config.get("judges", {}) | one_stage_rivals(config))
    for method in entry["methods"]:
        if method in BUDGETED and "budget" not in entry:
            raise ConfigError(f"{key}: budget is missing; {method} needs it: how many images it may look at")
        if method in GRADIENTS:
            check_gradients(f"{key}: {method}", judges, config)
    if entry["samples"] > 1 and "sigma" not in entry:
        raise ConfigError(f"{key}: samples is {entry['samples']}, but there is no sigma; add it")
    for model in entry["models"]:
        if isinstance(entry.get("sigma"), dict):
            check_spread(f"{key}: sigma", config["models"], model)
        for dataset in entry["datasets"]:
            check_size(key, dataset, config["datasets"], f"model {model}", image_size(config["models"], model))
        for name in judges:
            check_judge(f"{key}: judge {name}", name, model, config)


def one_stage_rivals(config):
    """The rivals that may judge maps: those that score all classes in one stage."""
    return {n: e for n, e in config["classifiers"].items() if "baseline" in e and len(e["stages"]) == 1}


def check_gradients(key, judges, config):
    """A map by gradients is of the first judge, which must be a network."""
    if not judges:
        raise ConfigError(f"{key} explains a network; name one in faithfulness: judges")
    if (rival := config["classifiers"].get(judges[0])) and judges[0] not in config.get("judges", {}):
        family = config["baselines"][rival["baseline"]]["family"]
        if not has_function(family, "cam_layer"):
            raise ConfigError(f"{key} explains a network, but {judges[0]} is of family {family}; name another first")


def check_judge(key, name, model, config):
    """A judge must take images of the size of the model whose maps it judges."""
    size = image_size(config["models"], model)
    if name in config.get("judges", {}):
        check_size(key, config["judges"][name]["data"], config["datasets"], f"model {model}", size)
    elif size is not None and (found := taken_size(name, config)[1]) != size:
        raise ConfigError(f"{key}: takes images of {found} pixels, but model {model} takes {size}")


def check_explained_once(config):
    """No two entries of `explain` may write the same maps."""
    seen = set()
    for i, entry in enumerate(config.get("explain", [])):
        for found in explanations({"explain": [entry]}):
            if found in seen:
                dataset, model, method, target, against = found
                raise ConfigError(
                    f"explain: {i}: {method} of {model} on {dataset}, {target} against {against}, is in an entry "
                    f"before; take it out of one of them"
                )
            seen.add(found)


def check_spread(key, models, name):
    if "train" not in models[origin(models, name)]:
        raise ConfigError(f"{key}: spread is known for models trained here only; give a number")


def check_adaptive(key, classifier):
    stage = classifier["funnel"][0]
    if len(classifier["funnel"]) > 1:
        raise ConfigError(f"{key}: funnel: an adaptive stage stands alone; take the others away")
    for extra in sorted({"scales", "keep"} & set(stage)):
        raise ConfigError(f"{key}: funnel: 0: {extra} does not go with adaptive; take it away")
    if "calibrate" not in classifier:
        raise ConfigError(f"{key}: calibrate is missing; an adaptive funnel takes its thresholds from that data set")
    if stage["adaptive"]["samples"] > 1 and "sigma" not in classifier:
        raise ConfigError(
            f"{key}: funnel: 0: samples is {stage['adaptive']['samples']}, but {key} has no sigma; add it"
        )
