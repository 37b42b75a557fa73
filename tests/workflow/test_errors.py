"""Bad configs and inputs: a non-zero exit, one clear message with the file or key, nothing half-written."""

import copy
import math
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import configs
import numpy as np
import pytest
import yaml
from job_graph import run_missing
from PIL import Image
from snakemake_runs import copy_project, default_config, snakemake, write_config

from varc.errors import InputError
from workflow.config.entry import ConfigError
from workflow.config.files import file_mistake, repeated_key


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("errors") / "project")


def set_key(path, value):
    """A change of the config: the entry at `path` becomes `value`, or disappears where that is None."""

    def change(config):
        *parents, last = path
        for part in parents:
            config = config[part]
        if value is None:
            del config[last]
        else:
            config[last] = value

    return change


FUNNEL = ("classifiers", "a_varc", "funnel")
TRAIN = ("models", "base", "train")

DIGITS = ("datasets", "digits")
EVALUATE = ("evaluate", 0)
FINETUNED = ("models", "cca")
VALIDATED = {
    "depth": 1, "width": 64, "heads": 4, "steps": 9, "batch_size": 8, "lr": 0.1, "validate": "digits_validation",
    "validate_every": 3,
}  # fmt: skip
INCREMENTAL = {
    "classifier": "a_varc", "data": "digits_train", "test": "digits", "tasks": [2], "seeds": 1, "strategies": ["none"],
}  # fmt: skip


DISCRIMINATIVE = {"steps": 9, "batch_size": 8, "lr": 0.1, "beta": 0.2, "negatives": 3, "gen": 0.2}


def told_apart(**changed):
    """A config whose model is fine-tuned by the discriminative loss, with some keys changed; None takes one away."""
    entry = {key: value for key, value in (DISCRIMINATIVE | changed).items() if value is not None}
    return set_key(FINETUNED, {"finetune": "base", "discriminative": entry})


TRANSFORMER = {"image_size": 8, "patch_size": 2, "width": 16, "depth": 1, "heads": 2}


def rival(**changed):
    """A config entry of a baseline, with some keys changed; None takes one away."""
    entry = {"family": "knn", "shape": {"image_size": 8, "memory": 10}, "train": {"data": "digits_train"}} | changed
    return set_key(["baselines"], {"memory": {key: value for key, value in entry.items() if value is not None}})


def learning_rival(of_baseline={}, **changed):  # noqa: B006
    """A rival that learns task by task, with some keys of its entries changed."""

    def change(config):
        rival(**of_baseline)(config)
        stage = {} if "family" in of_baseline else {"k": 1}
        config["classifiers"]["memory"] = {"baseline": "memory", "stages": [stage]}
        config["incremental"] = [INCREMENTAL | {"classifier": "memory", "strategies": ["family_joint"]} | changed]

    return change


def learning_funnel(**stage):
    """A VAR classifier of one stage with further keys that learns task by task."""

    def change(config):
        plain = {"scales": 4} if "certify" in stage else {"scales": 4, "keep": 1}
        known = {"calibrate": "known"} if "certify" in stage else {}
        config["datasets"]["known"] = {"reader": "digits", "split": "calibration"}
        config["classifiers"]["learner"] = {"model": "cca", "funnel": [plain | stage], **known}
        config["incremental"] = [INCREMENTAL | {"classifier": "learner"}]

    return change


RANDAR = {
    "image_size": 8,
    "depth": 1,
    "width": 8,
    "heads": 2,
    "vocab_size": 8,
    "ch_mult": [1, 1],
    "z_channels": 8,
    "ch": 32,
}
RANDAR_TRAINING = {"data": "digits_train", "steps": 1, "batch_size": 1, "lr": 0.1, "vq_steps": 1, "vq_batch_size": 1}
RANDAR_TRAINING |= {"vq_lr": 0.1}


def stage_of_a_transformer(**stage):
    """A classifier by a MeanFlow model, of one stage."""

    def change(config):
        train = {"data": "digits_train", "steps": 1, "batch_size": 1, "lr": 0.1}
        rival(family="meanflow", shape=TRANSFORMER, train=train)(config)
        config["classifiers"]["rival"] = {"baseline": "memory", "stages": [stage]}

    return change


BAD_CONFIGS = {
    "unknown key": (set_key(["shardz"], 2), "shardz is no key of a config; known are .*; did you mean shards[?]"),
    "unknown key of a stage": (
        set_key([*FUNNEL, 0, "scale"], 3), "funnel: 0: scale is no key of a stage.*; did you mean scales[?]"
    ),
    "unknown key of a data set": (set_key([*DIGITS, "rot"], "x"), "datasets: digits: rot is no key of reader digits"),
    "missing key": (set_key(["evaluate"], None), "evaluate is missing; a config needs it"),
    "a model of two kinds": (
        set_key(["models", "base", "vqvae"], "vae.pth"), "base: vqvae is no key of a model with train"
    ),
    "missing split": (set_key([*DIGITS, "split"], None), "datasets: digits: split is missing"),
    "key of another reader": (set_key([*DIGITS, "root"], "x"), "digits: root is no key of reader"),
    "unknown reader": (
        set_key([*DIGITS, "reader"], "digitz"), "digits: reader: 'digitz' is not known; .*; did you mean digits[?]"
    ),
    "unknown split": (set_key([*DIGITS, "split"], "testing"), "datasets: digits: split: 'testing'"),
    "zero shards": (set_key(["shards"], 0), "shards: 0 is not a whole number from 1 on"),
    "shards that are no number": (
        set_key(["shards"], "two"), "shards: 'two' is not a whole number from 1 on, nor auto"
    ),
    "unknown family": (rival(family="kmm"), "baselines: memory: family: 'kmm' is not defined; defined are .*knn"),
    "unknown key of a family": (rival(shape={"image_size": 8, "memori": 1}), "shape: memori is no key of family knn"),
    "missing key of a family": (rival(shape={"image_size": 8}), "shape: memory is missing; family knn needs it"),
    "wrong type of a family's key": (
        rival(shape={"image_size": 8, "memory": "all"}),
        "shape: memory: 'all' should be a valid integer",
    ),
    "unknown word of a family's key": (
        stage_of_a_transformer(draws=2, interval="mean"),
        "rival: stages: 0: interval: 'mean' should be 'instant' or 'average'",
    ),
    "neither train nor checkpoint": (rival(train=None), "memory: a baseline has either train or checkpoint"),
    "a public file of unknown classes": (rival(train=None, checkpoint="x"), "classes goes with checkpoint"),
    "unknown training images of a rival": (rival(train={"data": "x"}), "memory: train: data: 'x' is not defined"),
    "classifier of an unknown baseline": (
        set_key(["classifiers", "rival"], {"baseline": "x"}),
        "rival: baseline: 'x' is not defined; defined are none",
    ),
    "guidance of a funnel": (set_key([*FUNNEL, 0, "guidance"], 1.0), "a_varc: funnel: 0: guidance goes with one stage"),
    "a path as run": (set_key(["run"], "../outside"), r"run: '\.\./outside' does not match"),
    "a growing keep": (set_key([*FUNNEL, 1, "keep"], 6), "a_varc: funnel: 1: keep is 6 after 5"),
    "an equal keep": (set_key([*FUNNEL, 1, "keep"], 5), "a_varc: funnel: 1: keep is 5 after 5"),
    "a last keep above 1": (set_key([*FUNNEL, 2, "keep"], 2), "a_varc: funnel: the last stage has keep 2"),
    "too many scales": (set_key([*FUNNEL, 1, "scales"], 5), "funnel: 1: scales is 5, but model base has 4"),
    "samples without sigma": (
        set_key(["classifiers", "a_varc", "sigma"], None), "a_varc: funnel: 2: samples is 3, but the .* has no sigma"
    ),
    "a wrong sigma": (set_key(["classifiers", "a_varc", "sigma"], {"spred": 1}), "a_varc: sigma: .* is not a number"),
    "unknown model": (set_key(["classifiers", "varc", "model"], "bass"), "varc: model: 'bass' is not defined"),
    "unknown data set": (set_key([*EVALUATE, "datasets"], ["digit"]), "evaluate: 0: datasets: 'digit' is not defined"),
    "unknown classifier": (set_key([*EVALUATE, "classifiers"], ["x"]), "evaluate: 0: classifiers: 'x' is not defined"),
    "unknown training data": (set_key([*TRAIN, "data"], "x"), "models: base: train: data: 'x' is not defined"),
    "falling patch_nums": (set_key([*TRAIN, "vqvae", "patch_nums"], [1, 3, 2, 4]), r"patch_nums are \[1, 3, 2, 4\]"),
    "groups that do not divide": (set_key([*TRAIN, "vqvae", "norm_groups"], 5), "norm_groups must divide"),
    "heads that do not divide": (set_key([*TRAIN, "var", "heads"], 5), "heads 5 does not divide width 64"),
    "size of another model": (set_key(["datasets", "digits_train", "size"], 16), "size 16, but the model takes 8"),
    "size of another test image": (set_key([*DIGITS, "size"], 16), "digits has size 16, but model base takes 8"),
    "no scales": (set_key([*FUNNEL, 0, "scales"], None), "a_varc: funnel: 0: scales is missing"),
    "unknown precision": (
        set_key([*FUNNEL, 0, "precision"], "fp8"), "funnel: 0: precision: 'fp8' should be 'float32', 'tf32' or 'bf16'"
    ),
    "an adaptive stage among others": (set_key([*FUNNEL, 0], {"adaptive": {"alpha": 0.1}}), "stands alone"),
    "an adaptive stage without images": (set_key(FUNNEL, [{"adaptive": {"alpha": 0.1}}]), "calibrate is missing"),
    "an alpha that is no risk": (set_key(FUNNEL, [{"adaptive": {"alpha": 1.5}}]), "alpha: 1.5 should be less than 1"),
    "calibration on the test images": (
        set_key(["classifiers", "varc", "calibrate"], "digits"), "varc is calibrated on digits; evaluate it on other"
    ),
    "calibration of a funnel": (set_key(["classifiers", "a_varc", "calibrate"], "digits_train"), "calibrate goes with"),
    "fine-tuning from nothing": (set_key([*FINETUNED, "finetune"], "bass"), "models: cca: finetune: 'bass' is not def"),
    "fine-tuning in a circle": (set_key([*FINETUNED, "finetune"], "cca"), "finetune: cca from cca; a chain must"),
    "fine-tuning without a loss": (set_key([*FINETUNED, "cca"], None), "either cca, cross_entropy or discriminative"),
    "fine-tuning and training": (
        set_key(["models", "base", "finetune"], "cca"), "base: finetune is no key of a model with train"
    ),
    "cca without lambda": (set_key([*FINETUNED, "cca", "lambda"], None), "models: cca: cca: lambda is missing"),
    "an unknown key of cca": (set_key([*FINETUNED, "cca", "gamma"], 1), "models: cca: cca: gamma is no key of cca"),
    "a negative lambda": (
        set_key([*FINETUNED, "cca", "lambda"], -1), "lambda: -1 should be greater than or equal to 0"
    ),
    "beta without cca": (
        set_key([*FINETUNED], {"finetune": "base", "cross_entropy": {"steps": 1, "batch_size": 1, "lr": 1, "beta": 1}}),
        "cross_entropy: beta is no key of cross_entropy",
    ),
    "fine-tuning in two ways": (
        set_key([*FINETUNED, "discriminative"], DISCRIMINATIVE), "either cca, cross_entropy or discriminative; give one"
    ),
    "a discriminative term without its price": (
        told_apart(gen=None), "models: cca: discriminative: gen is missing; discriminative needs it"
    ),
    "more negatives than other classes": (
        told_apart(negatives=10), "cca: discriminative: negatives: 10, but of 10 classes 9 are others than the label"
    ),
    "an unknown key of a discriminative term": (told_apart(**{"lambda": 1}), "discriminative: lambda is no key of"),
    "validation on what is trained on": (
        set_key([*FINETUNED, "cca", "validate"], "digits_train"), "validate: digits_train is trained on; name other"
    ),
    "validation at no step": (set_key([*FINETUNED, "cca", "validate_every"], None), "validate_every go together"),
    "a VAR validated on what it is trained on": (
        set_key([*TRAIN, "var"], VALIDATED | {"validate": "digits_train"}),
        "train: var: validate: digits_train is trained on; name other images",
    ),
    "a VAR validated on nothing": (
        set_key([*TRAIN, "var"], VALIDATED | {"validate": "x"}), "base: train: var: validate: 'x' is not defined"
    ),
    "a VAR validated at no step": (
        set_key([*TRAIN, "var"], {k: v for k, v in VALIDATED.items() if k != "validate_every"}),
        "train: var: validate and validate_every go together",
    ),
    "a number of images to validate on, but none": (
        set_key([*TRAIN, "vqvae", "validate_images"], 5), "train: vqvae: validate_images says how many of validate's"
    ),
    "an average that never moves": (set_key([*TRAIN, "var", "ema"], 1.0), "train: var: ema: 1.0 should be less than 1"),
    "all labels dropped": (
        set_key([*TRAIN, "var", "label_dropout"], 1.0), "train: var: label_dropout: 1.0 should be less than 1"
    ),
    "an augmentation that changes nothing": (
        set_key([*TRAIN, "vqvae", "augment"], {"translate": 0}), "vqvae: augment: translate, scale and rotate are 0"
    ),
    "augmented copies without a number": (
        set_key([*TRAIN, "var", "augment"], {"translate": 1}), "train: var: augment: copies is missing"
    ),
    "copies of images that are changed in every batch": (
        set_key([*TRAIN, "vqvae", "augment"], {"translate": 1, "copies": 2}), "augment: copies is no key of augment"
    ),
    "accumulation that does not divide": (set_key([*FINETUNED, "cca", "accumulate"], 5), "5 does not divide"),
    "a VQ-VAE of a model without one": (set_key([*TRAIN, "vqvae"], "cca"), "model cca trains no VQ-VAE of its own"),
    "an ablation against a funnel": (set_key(["ablation"], "a_varc"), "ablation: a_varc must be one stage at all 4"),
    "an ablation against nothing": (set_key([*EVALUATE, "classifiers"], ["a_varc"]), "ablation: varc is not evaluated"),
    "smoothing of an unknown model": (
        set_key(["smoothing"], [{"datasets": ["digits"], "models": ["x"], "sigmas": [0.1], "samples": [2]}]),
        "smoothing: 0: models: 'x' is not defined",
    ),
    "incremental learning without cca": (set_key(["incremental"], [INCREMENTAL]), "base is not fine-tuned by cca"),
    "incremental learning in bf16": (
        learning_funnel(precision="bf16"), "learner has precision bf16 in funnel: 0; name one of plain stages"
    ),
    "incremental learning with a certified stage": (
        learning_funnel(precision="bf16", certify={"alpha": 0.1}),
        "classifier: learner has a certified funnel; name one of fixed stages",
    ),
    "incremental learning with guidance": (learning_funnel(guidance=1.5), "learner has guidance 1.5 in funnel: 0"),
    "learning by a rival with a tokeniser": (
        learning_rival({"family": "randar", "shape": RANDAR, "train": RANDAR_TRAINING}),
        "family randar trains a tokeniser, whose tokens would change with each task; name another",
    ),
    "a model's strategy for a rival": (learning_rival(strategies=["none"]), "none does not go with memory, which has"),
    "a rival's strategy for a model": (
        set_key(["incremental"], [{**INCREMENTAL, "strategies": ["family_joint"]}]), "family_joint does not go with"
    ),
    "steps for a rival that has its own": (
        learning_rival(train={"steps": 1, "batch_size": 1, "lr": 0.1}), "baselines: memory: train says it"
    ),
    "a rival with public weights that learns": (
        learning_rival({"family": "vit", "shape": TRANSFORMER, "train": None, "checkpoint": "w", "classes": 10}),
        "memory has public weights; name one",
    ),
    "strategies that are learned twice": (
        lambda config: (learning_rival()(config), config.update(incremental=2 * config["incremental"])),
        "incremental: family_joint of memory on digits in 2 tasks is there twice",
    ),
    "no memory": (rival(shape={"image_size": 8, "memory": 0}), "memory: 0 should be greater than or equal to 1"),
    "no widths": (
        rival(family="resnet", shape={"image_size": 8, "widths": [], "depths": [1]}),
        r"shape: widths: \[\] is empty; give at least 1",
    ),
    "patches that do not fill the image": (
        rival(family="vit", shape={**TRANSFORMER, "patch_size": 3}), "shape: patch_size 3 does not divide the side 8"
    ),
    "heads that do not divide a rival's width": (
        rival(family="vit", shape={**TRANSFORMER, "heads": 3}), "shape: heads 3 does not divide width 16"
    ),
    "two channels": (rival(family="meanflow", shape={**TRANSFORMER, "channels": 2}), "shape: channels is 2; grey"),
    "a latent model to be trained": (
        rival(family="diffusion", shape={**TRANSFORMER, "image_size": 64, "latent": True}),
        "shape: latent goes with checkpoint; training here is on pixels",
    ),
    "public weights of a family without": (
        rival(train=None, checkpoint="w", classes=10), "checkpoint: family knn has no public weights; give train"
    ),
    "a judge with a classifier's name": (
        set_key(["judges"], {"varc_cca": {"data": "digits_train", "steps": 1, "lr": 0.1}}),
        "judges: varc_cca: classifiers has that name too",
    ),
    "incremental learning from the test images": (
        set_key(["incremental"], [{**INCREMENTAL, "classifier": "a_varc_plus", "data": "digits"}]),
        "incremental: 0: test: digits is learned from",
    ),
    "braces in the path of a file": (
        set_key([*DIGITS, "ids"], "ids{1}.txt"), "digits: ids: .*1}.txt' has braces, which Snakemake takes for a"
    ),
    "resize below size": (set_key([*DIGITS, "resize"], 4), "resize 4 and size absent"),
    "no resize and no size": (set_key([*DIGITS, "resize"], "none"), "resize none and size absent"),
    "another word for none": (set_key([*DIGITS, "resize"], "off"), "resize"),
    "a number that is none": (set_key([*TRAIN, "var", "lr"], math.nan), "train: var: lr: nan is no finite number"),
    "an infinite sigma": (set_key(["classifiers", "a_varc", "sigma"], math.inf), "a_varc: sigma: inf is no finite"),
    "a key without a value": (
        lambda config: config.update(shards=None), "shards: has no value; give one, or take the key away"
    ),
    "yes for a number": (set_key(["shards"], True), "shards: True is not a whole number"),
    "a negative seed": (set_key(["seed"], -1), "seed: -1 should be greater than or equal to 0"),
    "a number as a name": (
        set_key(["datasets", 2024], {"reader": "digits"}), "datasets: 2024 should be a valid string"
    ),
    "a list where a table belongs": (set_key(["models"], ["base"]), r"models: \['base'\] should be a table"),
    "nothing to evaluate": (set_key(["evaluate"], []), r"evaluate: \[\] is empty; give at least 1"),
    "no stages": (set_key(FUNNEL, []), r"a_varc: funnel: \[\] is empty; give at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_bad_configs_are_refused(name):
    change, message = BAD_CONFIGS[name]
    config = copy.deepcopy(configs.DIGITS)
    change(config)
    with pytest.raises((ConfigError, InputError), match=message) as refusal:
        configs.begun(config)
    assert "\n" not in str(refusal.value)


END_TO_END = (
    "unknown key", "a growing keep", "unknown key of a family", "an ablation against nothing", "a number that is none",
    "strategies that are learned twice",
)  # fmt: skip


@pytest.mark.parametrize("name", END_TO_END)
def test_a_refusal_is_one_message_before_any_job(project, name):
    change, message = BAD_CONFIGS[name]
    config = default_config(project)
    change(config)
    run = snakemake(project, "--configfile", write_config(project, config))
    check_refusal(run, f"changed.yaml: .*{message}" if not message.startswith("incremental") else message)
    assert "changed.yaml" in run.output
    assert not (project / "results").exists()


def check_refusal(run, message):
    assert run.code != 0
    assert re.search(message, run.output), run.output
    assert "Traceback" not in run.output


NO_CONFIGS = {
    "broken YAML": ("run: [digits", "not valid JSON or YAML"),
    "a list": ("- a list", "(?i)config file must be given as"),
    "nothing": ("", "(?i)config file must be given as"),
    "tabs": ("run: digits\n\tseed: 0\n", "not valid JSON or YAML"),
    "a key twice": ("run: one\nseed: 0\nrun: two\n", "broken.yaml: run is given twice, at line 3 again"),
}


@pytest.mark.parametrize("name", NO_CONFIGS)
def test_files_that_are_no_config_are_refused(project, name):
    text, message = NO_CONFIGS[name]
    (project / "broken.yaml").write_text(text)
    check_refusal(snakemake(project, "--configfile", "broken.yaml"), message)


def test_deep_keys_twice_are_found(tmp_path):
    for text, message in (
        ("models:\n  a: {train: {data: x, data: y}}\n", "models: a: train: data is given twice, at line 2"),
        ("evaluate:\n- {a: 1}\n- {b: 1, b: 2}\n", "evaluate: 1: b is given twice, at line 3"),
    ):
        (tmp_path / "config.yaml").write_text(text)
        assert message in file_mistake([tmp_path / "config.yaml"], {})


def test_the_same_key_in_two_tables_and_a_merge_are_no_repetition():
    text = "a: &a {b: 1}\nc: {<<: *a, b: 2}\nd: [{b: 1}, {b: 1}]\n"
    assert repeated_key(yaml.compose(text)) is None
    assert repeated_key(yaml.compose(f"{text}a: 1\n")) is not None


def folder_config(project, root="images", shards=1):
    """A config that evaluates an image folder; whatever is tested fails before training matters."""
    config = default_config(project)
    config["run"] = "folder"
    config["shards"] = shards
    config["datasets"]["pictures"] = {
        "reader": "image_folder", "root": root, "classes": "classes.csv", "size": 8, "resize": 8,
    }  # fmt: skip
    config["evaluate"] = [{"datasets": ["pictures"], "classifiers": ["varc"]}]
    train = copy.deepcopy(config["models"]["base"]["train"])
    train["vqvae"]["steps"] = train["var"]["steps"] = 2
    train["var"]["samples"] = 1
    config["models"]["base"]["train"] = train
    return config


class Place(NamedTuple):
    """Where a fault is made: the project, and the root of the pictures."""

    project: Path
    root: Path


@pytest.fixture
def pictures(project, tmp_path):
    """A folder with two classes of two pictures each, and its class list."""
    root = tmp_path / "images"
    for folder in ("one", "two"):
        (root / folder).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((8, 8), 50 * i, np.uint8)).save(root / folder / f"{i}.png")
    (project / "classes.csv").write_text("folder,class_id,name\none,1,One\ntwo,2,Two\n")
    return root


def test_a_missing_root_stops_a_real_run_first_but_no_dry_run(project, pictures):
    name = write_config(project, folder_config(project, "absent"))
    assert snakemake(project, "--configfile", name, "--dry-run").code == 0
    check_refusal(
        snakemake(project, "--configfile", name), "changed.yaml: datasets: pictures: root: absent: no such file"
    )
    assert not (project / "results").exists()


def test_a_missing_class_list_is_named(project, pictures):
    (project / "classes.csv").unlink()
    run = snakemake(project, "--configfile", write_config(project, folder_config(project, str(pictures))))
    check_refusal(run, "classes.csv")


CLASSES = "folder,class_id,name\n"
MANIFEST, FEATURES = "datasets/pictures.parquet", "features/base/pictures/0.parquet"


def write_list(text, encoding="utf-8"):
    """The class list becomes a text."""
    return lambda place, spec: (place.project / "classes.csv").write_text(CLASSES + text, encoding)


def set_spec(**keys):
    """Further keys of the data set."""
    return lambda place, spec: spec.update(keys)


def write_file(name, content, **keys):
    """A file below the pictures' root, or beside it, and further keys of the data set."""

    def fault(place, spec):
        path = place.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        spec.update({key: str(path) if value is path_of else value for key, value in keys.items()})

    return fault


def path_of():
    """Stands for the path of the file that write_file writes."""


def no_pictures(place, spec):
    for path in place.root.rglob("*.png"):
        path.unlink()


def cut_picture(place, spec):
    path = place.root / "one" / "1.png"
    path.write_bytes(path.read_bytes()[:30])


PICTURE = b"\x89PNG no picture"
BAD_DATA = {  # what is done to two classes of two pictures, what is made of it, the message
    "a folder that is not listed": (write_file("three/0.png", PICTURE), MANIFEST, "three/0.png: 'three' is not in the"),
    "a picture in no folder": (write_file("0.png", PICTURE), MANIFEST, r"0.png: '\.' is not in the class list"),
    "no pictures": (no_pictures, MANIFEST, "reader image_folder, root .*images: no images"),
    "a file as root": (write_file("../file", b"", root=path_of), MANIFEST, "file: no such folder; set root"),
    "a class_id twice": (write_list("one,1,A\ntwo,1,B\n"), MANIFEST, "classes.csv: class_id 1 occurs more than once"),
    "a folder twice": (write_list("one,1,A\none,2,B\n"), MANIFEST, "classes.csv: folder one occurs more than once"),
    "a class_id that is no number": (write_list("one,x,A\n"), MANIFEST, "classes.csv, line 2: class_id is 'x'"),
    "a row that is too short": (write_list("one,1\n"), MANIFEST, "csv, line 2: expected the columns folder, cl"),
    "a class list without rows": (write_list(""), MANIFEST, "classes.csv: the class list has no rows"),
    "a class list in another encoding": (
        write_list("one,1,Gr\u00fcn\n", "latin-1"), MANIFEST, "classes.csv: the class list cannot be read"
    ),
    "an id that is no image": (
        write_file("../ids", b"one/0.png\none/7.png\n", ids=path_of), MANIFEST, "1 of 2 ids are no image, first 'one/7"
    ),
    "ids that name nothing": (write_file("../ids", b"", ids=path_of), MANIFEST, "images: no images; .* .4 left out"),
    "a picture that no label names": (
        write_file("../labels", b"0.png one\n", labels=path_of, reader="labels_file"), MANIFEST, "no line for one/1.png"
    ),
    "no tars": (set_spec(reader="webdataset"), MANIFEST, r"images: no \*\.tar files; set root"),
    "a tar that is none": (
        write_file("a.tar", b"no tar", reader="webdataset"), MANIFEST, "a.tar: cannot be read as a tar"
    ),
    "a Parquet file that is none": (
        write_file("a.parquet", b"no Parquet", reader="parquet"), MANIFEST, "a.parquet: cannot be read as Parquet"
    ),
    "idx files that are not there": (
        set_spec(reader="idx", split="test"), MANIFEST, "t10k-images-idx3-ubyte.gz: no such file"
    ),
    "a picture cut short": (cut_picture, FEATURES, "one/1.png: unreadable image"),
    "a text as picture": (write_file("one/1.png", b"text"), FEATURES, "one/1.png: unreadable image"),
    "an empty picture": (write_file("two/0.png", b""), FEATURES, "two/0.png: unreadable image"),
    "more shards than images": (set_spec(shards=5), FEATURES, "shards: 5 shards, but only 4 images"),
    "a border of all pixels": (set_spec(border=4), FEATURES, "one/0.png: 8x8 pixels, of which border 4 leaves none"),
}  # fmt: skip


def faulty(project, pictures, name):
    """The config file of a fault, the file that can't be made of it, and the folder of its results."""
    fault, target, _ = BAD_DATA[name]
    config = folder_config(project, str(pictures))
    spec = config["datasets"]["pictures"]
    fault(Place(project, pictures), spec)
    if spec["reader"] == "idx":
        del spec["size"], spec["resize"]
    config["shards"] = spec.pop("shards", 1)
    config["run"] = f"shards{config['shards']}"  # trains its model once for all
    config["datasets"]["pictures"] = {key: value for key, value in spec.items() if value is not None}
    results = f"results/{config['run']}"
    (project / results / "datasets/pictures.parquet").unlink(missing_ok=True)  # of another fault
    shutil.rmtree(project / results / "checked", ignore_errors=True)
    return write_config(project, config), f"{results}/{target}", project / results


def check_fault(project, target, results):
    """Nothing half-written is left of the target, and the log has the details."""
    rule = "manifest" if target.endswith(MANIFEST) else "check_*"
    logs = [path for path in (results / "logs").glob(f"{rule}/**/*.log") if "pictures" in path.as_posix()]
    assert any("Traceback" in path.read_text() for path in logs)
    assert not (project / target).exists()
    assert not [path for path in results.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_named_and_leaves_nothing_half_written(project, pictures, name, capsys):
    config, target, results = faulty(project, pictures, name)
    with pytest.raises(SystemExit) as end:
        run_missing(project / config, project, target)
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert re.search(BAD_DATA[name][2], said) and "Traceback" not in said, said
    check_fault(project, target, results)


@pytest.mark.parametrize("name", ["a folder that is not listed", "a picture cut short", "more shards than images"])
def test_a_run_ends_with_what_is_wrong_with_the_data(project, pictures, name):
    config, target, results = faulty(project, pictures, name)
    run = snakemake(project, target, "--configfile", config)
    check_refusal(run, BAD_DATA[name][2])
    check_fault(project, target, results)


def test_a_target_that_the_config_does_not_define_is_refused(project):
    for target in ("results/digits/datasets/digitz.parquet", "results/digits/predictions/vark/digits.parquet"):
        run = snakemake(project, target)
        check_refusal(run, f"(?s)MissingRuleException.*{target}")
