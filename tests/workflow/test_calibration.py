"""Thresholds and temperatures come from images that nothing else has seen: in one config, and over all committed."""

import copy
from itertools import product
from pathlib import Path

import pytest
import yaml
from configs import ROOT, read

from workflow.config.calibration import chosen_on, share_images, trained_on
from workflow.config.entry import ConfigError

DIGITS = yaml.safe_load((ROOT / "config" / "study_quick.yaml").read_text())
COMMITTED = sorted((ROOT / "config").glob("*.yaml"))


def refused(change, *words):
    config = copy.deepcopy(DIGITS)
    change(config)
    with pytest.raises(ConfigError) as error:
        read(config)
    message = str(error.value)
    assert "\n" not in message and "calibrate on images that nothing else takes" in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("more", [{}, {"per_class": 3}, {"border": 1}, {"shift": {"name": "blur", "severity": 1}}])
@pytest.mark.parametrize(
    ("split", "key"),
    [
        ("validation", "models: cca: cca: validate: digits_validation"),
        ("train", "models: cca: cca: data: digits_train"),
        ("test", "evaluate: 0: datasets: digits"),
    ],
)
def test_images_that_something_else_takes_are_refused(split, key, more):
    """Whatever their entry is called, however few of them it takes, and whatever is done to them."""

    def other_split(config):
        config["datasets"]["digits_calibration"] = {"reader": "digits", "split": split, **more}

    refused(other_split, key, "classifiers: adaptive: calibrate is digits_calibration", "shares images with")


def test_the_validation_set_itself_is_refused():
    def same(config):
        config["classifiers"]["adaptive"]["calibrate"] = "digits_validation"

    refused(same, "models: cca: cca: validate: digits_validation", "adaptive: calibrate is digits_validation;")


@pytest.mark.parametrize("part", ["vqvae", "var"])
def test_the_validation_set_of_a_training_is_refused(part):
    """Of any model of the config: a reader of the tables may choose among them."""

    def validated(config):
        config["models"]["cca"]["cca"] = {
            k: v for k, v in config["models"]["cca"]["cca"].items() if not k.startswith("validate")
        }
        config["models"]["base"]["train"][part] |= {"validate": "digits_calibration", "validate_every": 9}

    refused(validated, f"models: base: train: {part}: validate: digits_calibration", "calibrate is digits_calibration")


@pytest.mark.parametrize(
    ("table", "entry"),
    [
        ("evaluate", {"datasets": ["digits_calibration"], "classifiers": ["varc_cca"]}),  # as CCA's search
        ("smoothing", {"datasets": ["digits_calibration"], "models": ["base"], "sigmas": [0.1], "samples": [2]}),
        ("explain", {"datasets": ["digits_calibration"], "models": ["base"], "methods": ["tmi"]}
         | {"target": "label", "against": "unconditional"}),
        ("shifts", {"dataset": "digits_calibration", "classifiers": ["knn"], "names": ["blur"], "severities": [1]}),
        ("incremental", {"classifier": "vae", "data": "digits_train", "test": "digits_calibration", "tasks": [2]}
         | {"seeds": 1, "strategies": ["family_joint"]}),
    ],
)  # fmt: skip
def test_a_search_on_them_is_refused(table, entry):
    refused(lambda config: config.setdefault(table, []).append(entry), f"{table}: ", "digits_calibration")


def test_a_rival_is_not_calibrated_on_what_it_learned():
    def learned(config):
        config["baselines"]["vit"]["train"]["data"] = "digits_calibration"

    refused(learned, "baselines: vit: train: data: digits_calibration", "classifiers: vit: calibrate")


def folder(**keys):
    return {"reader": "image_folder", "root": "data", "classes": "c.csv", "size": 8, **keys}


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (folder(), folder(root="data/"), True),
        (folder(), folder(root="other"), False),
        (folder(), folder(ids="a.txt"), True),
        (folder(ids="a.txt"), folder(ids="b.txt"), False),
        (folder(ids="a.txt"), folder(ids="ab.txt"), True),
        (folder(ids="a.txt"), folder(ids="absent.txt"), True),  # it can't be told
        (folder(), folder(classes="d.csv"), True),
        (folder(subset=True), folder(classes="d.csv", subset=True), False),
        (folder(subset=True), folder(classes="cd.csv", subset=True), True),
        (folder(reader="parquet", files="test-*"), folder(reader="parquet", files="val-*"), False),
        (folder(reader="parquet", files="test-*"), folder(reader="parquet"), True),
        (folder(reader="parquet", split="test"), folder(reader="parquet", split="calibration"), False),
        (folder(reader="parquet", split="test"), folder(reader="parquet"), True),
        (folder(reader="parquet", split="test"), folder(reader="parquet", split="train", files="a-*"), True),
        (folder(reader="parquet", split="test"), folder(reader="parquet", split="train", group_column="font"), True),
    ],
)
def test_what_shares_images(one, other, shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "ab"):
        Path(f"{name}.txt").write_text("\n".join(f"{letter}/1.png" for letter in name) + "\n")
    for name in ("c", "d", "cd"):
        rows = "".join(f"{letter},{i},x\n" for i, letter in enumerate(name))
        Path(f"{name}.csv").write_text(f"folder,class_id,name\n{rows}")
    config = copy.deepcopy(DIGITS) | {"datasets": {**DIGITS["datasets"], "one": one, "other": other}}
    found = read(config).datasets
    assert share_images(found["one"], found["other"]) is shared is share_images(found["other"], found["one"])


def test_no_committed_config_calibrates_on_images_that_another_one_chose_settings_on():
    """Configs that evaluate other images than test images choose settings; thresholds come from none of these."""
    configs = {path.stem: read(yaml.safe_load(path.read_text())) for path in COMMITTED}
    searched, calibrating = [], []
    for name, config in configs.items():
        for key, dataset in chosen_on(config):
            if getattr(config.datasets[dataset], "split", "test") != "test":
                searched.append((name, key, config.datasets[dataset]))
        for classifier, entry in config.classifiers.items():
            if entry.calibrate:
                calibrating.append((name, classifier, config.datasets[entry.calibrate]))
                searched += [(name, key, config.datasets[dataset]) for key, dataset in trained_on(config, classifier)]
    names = {name for name, *_ in searched}
    assert {"cca_search_digits", "cca_search_fashion", "digits_validation", "fashion_validation"} <= names
    assert {"study", "study_quick", "digits_adaptive", "fashion_mnist"} <= {name for name, *_ in calibrating}
    both = [(one, other) for one, other in product(searched, calibrating) if share_images(one[2], other[2])]
    assert [(one[:2], other[:2]) for one, other in both] == []
