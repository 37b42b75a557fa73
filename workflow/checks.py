"""What a config must fulfil beyond its schema. Each message names the key, what was found, and what to do."""

from itertools import pairwise

import yaml
from jsonschema import Draft202012Validator

from varc.models.architectures import ARCHITECTURES
from workflow.naming import image_size, patch_nums

ANY_READER = {"classes", "size", "resize", "border", "ids", "per_class"}
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


class ConfigError(ValueError):
    """A config that contradicts itself."""


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
    for name, model in config["models"].items():
        check_model(f"models: {name}", model, config["datasets"])
    for name, classifier in config["classifiers"].items():
        check_classifier(f"classifiers: {name}", classifier, config["models"])
        if "calibrate" in classifier:
            known(f"classifiers: {name}: calibrate", [classifier["calibrate"]], config["datasets"])
    for i, entry in enumerate(config["evaluate"]):
        known(f"evaluate: {i}: datasets", entry["datasets"], config["datasets"])
        known(f"evaluate: {i}: classifiers", entry["classifiers"], config["classifiers"])
        for dataset in entry["datasets"]:
            for classifier in entry["classifiers"]:
                model = config["classifiers"][classifier]["model"]
                check_size(
                    f"evaluate: {i}", dataset, config["datasets"][dataset], f"model {model}", config["models"][model]
                )
                if config["classifiers"][classifier].get("calibrate") == dataset:
                    raise ConfigError(
                        f"evaluate: {i}: {classifier} is calibrated on {dataset}; evaluate it on other images"
                    )
    for i, entry in enumerate(config.get("explain", [])):
        known(f"explain: {i}: datasets", entry["datasets"], config["datasets"])
        known(f"explain: {i}: models", entry["models"], config["models"])


def known(key, names, table):
    """Every name must be an entry of the table."""
    for name in names:
        if name not in table:
            raise ConfigError(f"{key}: {name!r} is not defined; defined are {', '.join(sorted(table)) or 'none'}")


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


def check_size(key, dataset, spec, model, entry):
    """The images of a data set must have the size that the model takes, as far as the config tells both."""
    size = image_size(entry)
    if size is not None and spec.get("size", size) != size:
        raise ConfigError(f"{key}: data set {dataset} has size {spec['size']}, but {model} takes {size}")


def check_model(key, model, datasets):
    if "train" in model:
        for extra in sorted(set(model) - {"train"}):
            raise ConfigError(f"{key}: {extra} does not go with train; take one of them away")
        check_training(f"{key}: train", model["train"], datasets)
        check_size(f"{key}: train", model["train"]["data"], datasets[model["train"]["data"]], "the model", model)
    else:
        check_checkpoint(key, model)


def check_training(key, train, datasets):
    known(f"{key}: data", [train["data"]], datasets)
    vqvae, var = train["vqvae"], train["var"]
    patch_nums = vqvae["patch_nums"]
    if any(a >= b for a, b in pairwise(patch_nums)):
        raise ConfigError(f"{key}: vqvae: patch_nums are {patch_nums}; each must be larger than the one before")
    if any(vqvae["ch"] * mult % vqvae["norm_groups"] for mult in vqvae["ch_mult"]):
        found = f"ch {vqvae['ch']}, ch_mult {vqvae['ch_mult']}, norm_groups {vqvae['norm_groups']}"
        raise ConfigError(f"{key}: vqvae: {found}; norm_groups must divide the channels of every level")
    if var["width"] % var["heads"]:
        raise ConfigError(f"{key}: var: heads {var['heads']} does not divide width {var['width']}")
    if var["samples"] > 1 and "sigma" not in var:
        raise ConfigError(f"{key}: var: samples {var['samples']} needs sigma; add it")


def check_checkpoint(key, model):
    for missing in sorted({"vqvae", "var"} - set(model)):
        raise ConfigError(f"{key}: {missing} is missing; a model has either train, or the files vqvae and var")
    if "architecture" in model and model["architecture"] not in ARCHITECTURES:
        names = ", ".join(sorted(ARCHITECTURES))
        raise ConfigError(f"{key}: architecture: {model['architecture']!r} is not known; known are {names}")
    if "architecture" in model and "patch_nums" in model:
        raise ConfigError(f"{key}: patch_nums follow from architecture; take one of them away")
    if "hub" in model and set(model.get("sha256", {})) != {"vqvae", "var"}:
        raise ConfigError(f"{key}: hub needs sha256: {{vqvae: ..., var: ...}}, so that what is downloaded is checked")


def check_classifier(key, classifier, models):
    known(f"{key}: model", [classifier["model"]], models)
    model = models[classifier["model"]]
    scales = len(patch_nums(model))
    if "train" not in model and isinstance(classifier.get("sigma"), dict):
        raise ConfigError(f"{key}: sigma: spread is known for models trained here only; give a number")
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
        keep = stage["keep"]
    if "calibrate" in classifier and (len(classifier["funnel"]) > 1 or classifier["funnel"][0]["scales"] < scales):
        raise ConfigError(f"{key}: calibrate goes with an adaptive funnel, or one stage at all {scales} scales")
    if keep != 1:
        raise ConfigError(f"{key}: funnel: the last stage has keep {keep}; it must be 1, the prediction")


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
