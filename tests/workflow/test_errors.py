"""Bad configs and inputs: a non-zero exit, one clear message with the file or key, nothing half-written."""

import copy
import re

import numpy as np
import pytest
from PIL import Image
from snakemake_runs import copy_project, default_config, snakemake, write_config


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
INCREMENTAL = {
    "classifier": "a_varc", "data": "digits_train", "test": "digits", "tasks": [2], "seeds": 1, "strategies": ["none"],
}  # fmt: skip

BAD_CONFIGS = {
    "unknown key": (set_key(["shardz"], 2), "'shardz' was unexpected"),
    "unknown key of a stage": (set_key([*FUNNEL, 0, "scale"], 3), "classifiers: a_varc: funnel: 0: .*'scale' was un"),
    "unknown key of a data set": (set_key([*DIGITS, "rot"], "x"), "datasets: digits: .*'rot' was unexpected"),
    "missing key": (set_key(["evaluate"], None), "'evaluate' is a required property"),
    "a model of two kinds": (set_key(["models", "base", "vqvae"], "vae.pth"), "base: vqvae does not go with train"),
    "missing split": (set_key([*DIGITS, "split"], None), "datasets: digits: split is missing"),
    "key of another reader": (set_key([*DIGITS, "root"], "x"), "digits: root is no key of reader"),
    "unknown reader": (set_key([*DIGITS, "reader"], "digitz"), "datasets: digits: reader: 'digitz'"),
    "unknown split": (set_key([*DIGITS, "split"], "testing"), "datasets: digits: split: 'testing'"),
    "zero shards": (set_key(["shards"], 0), "shards: 0 is less than the minimum of 1"),
    "shards that are no number": (set_key(["shards"], "two"), "shards: 'two' is not of type 'integer'"),
    "a path as run": (set_key(["run"], "../outside"), r"run: '\.\./outside' does not match"),
    "a growing keep": (set_key([*FUNNEL, 1, "keep"], 6), "a_varc: funnel: 1: keep is 6 after 5"),
    "an equal keep": (set_key([*FUNNEL, 1, "keep"], 5), "a_varc: funnel: 1: keep is 5 after 5"),
    "a last keep above 1": (set_key([*FUNNEL, 2, "keep"], 2), "a_varc: funnel: the last stage has keep 2"),
    "too many scales": (set_key([*FUNNEL, 1, "scales"], 5), "funnel: 1: scales is 5, but model base has 4"),
    "samples without sigma": (set_key(["classifiers", "a_varc", "sigma"], None), "a_varc has no sigma"),
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
    "unknown precision": (set_key([*FUNNEL, 0, "precision"], "fp8"), "funnel: 0: precision: 'fp8' is not one of"),
    "an adaptive stage among others": (set_key([*FUNNEL, 0], {"adaptive": {"alpha": 0.1}}), "stands alone"),
    "an adaptive stage without images": (set_key(FUNNEL, [{"adaptive": {"alpha": 0.1}}]), "calibrate is missing"),
    "an alpha that is no risk": (set_key(FUNNEL, [{"adaptive": {"alpha": 1.5}}]), "alpha: 1.5 is greater than"),
    "calibration on the test images": (
        set_key(["classifiers", "varc", "calibrate"], "digits"), "varc is calibrated on digits; evaluate it on other"
    ),
    "calibration of a funnel": (set_key(["classifiers", "a_varc", "calibrate"], "digits_train"), "calibrate goes with"),
    "fine-tuning from nothing": (set_key([*FINETUNED, "finetune"], "bass"), "models: cca: finetune: 'bass' is not def"),
    "fine-tuning in a circle": (set_key([*FINETUNED, "finetune"], "cca"), "finetune: cca from cca; a chain must"),
    "fine-tuning without a loss": (set_key([*FINETUNED, "cca"], None), "either cca or cross_entropy; give one"),
    "fine-tuning and training": (set_key(["models", "base", "finetune"], "cca"), "finetune does not go with train"),
    "cca without lambda": (set_key([*FINETUNED, "cca", "lambda"], None), "'lambda' is a required property"),
    "an unknown key of cca": (set_key([*FINETUNED, "cca", "gamma"], 1), r"models: cca: cca: .*'gamma' was unexpected"),
    "a negative lambda": (set_key([*FINETUNED, "cca", "lambda"], -1), "lambda: -1 is less than the minimum of 0"),
    "beta without cca": (
        set_key([*FINETUNED], {"finetune": "base", "cross_entropy": {"steps": 1, "batch_size": 1, "lr": 1, "beta": 1}}),
        "cross_entropy: .*'beta' was unexpected",
    ),
    "validation on what is trained on": (
        set_key([*FINETUNED, "cca", "validate"], "digits_train"), "validate: digits_train is trained on; name other"
    ),
    "validation at no step": (set_key([*FINETUNED, "cca", "validate_every"], None), "validate_every go together"),
    "accumulation that does not divide": (set_key([*FINETUNED, "cca", "accumulate"], 5), "5 does not divide"),
    "a VQ-VAE of a model without one": (set_key([*TRAIN, "vqvae"], "cca"), "model cca trains no VQ-VAE of its own"),
    "an ablation against a funnel": (set_key(["ablation"], "a_varc"), "ablation: a_varc must be one stage at all 4"),
    "an ablation against nothing": (set_key([*EVALUATE, "classifiers"], ["a_varc"]), "ablation: varc is not evaluated"),
    "smoothing of an unknown model": (
        set_key(["smoothing"], [{"datasets": ["digits"], "models": ["x"], "sigmas": [0.1], "samples": [2]}]),
        "smoothing: 0: models: 'x' is not defined",
    ),
    "incremental learning without cca": (set_key(["incremental"], [INCREMENTAL]), "base is not fine-tuned by cca"),
    "incremental learning from the test images": (
        set_key(["incremental"], [{**INCREMENTAL, "classifier": "a_varc_plus", "data": "digits"}]),
        "incremental: 0: test: digits is learned from",
    ),
    "resize below size": (set_key([*DIGITS, "resize"], 4), "resize 4 and size absent"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_bad_configs_are_refused_before_any_job(project, name):
    change, message = BAD_CONFIGS[name]
    config = default_config(project)
    change(config)
    run = snakemake(project, "--configfile", write_config(project, config))
    check_refusal(run, message)
    assert "changed.yaml" in run.output
    assert not (project / "results").exists()


def check_refusal(run, message):
    assert run.code != 0
    assert re.search(message, run.output), run.output
    assert "Traceback" not in run.output


@pytest.mark.parametrize(
    ("text", "message"), [("run: [digits", "not valid JSON or YAML"), ("- a list", "(?i)config file must be given as")]
)
def test_files_that_are_no_config_are_refused(project, text, message):
    (project / "broken.yaml").write_text(text)
    check_refusal(snakemake(project, "--configfile", "broken.yaml"), message)


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


def results_of(project):
    """Parquet files of the failed run below the folder of the pictures, temporary ones included."""
    return sorted(path.name for path in (project / "results" / "folder").rglob("*pictures*") if path.is_file())


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


@pytest.mark.parametrize("fault", ["folder", "empty", "list"])
def test_data_that_cannot_be_listed_is_named(project, pictures, fault):
    if fault == "folder":
        (pictures / "three").mkdir()
        Image.new("L", (8, 8)).save(pictures / "three" / "0.png")
        message = "three/0.png: 'three' is not in the class list"
    elif fault == "empty":
        for path in pictures.rglob("*.png"):
            path.unlink()
        message = "reader image_folder, root .*images: no images"
    else:
        (project / "classes.csv").write_text("folder,class_id,name\none,1,One\ntwo,1,Two\n")
        message = "classes.csv: class_id 1 occurs more than once"
    name = write_config(project, folder_config(project, str(pictures)))
    run = snakemake(project, "results/folder/datasets/pictures.parquet", "--configfile", name)
    check_refusal(run, message)
    assert results_of(project) == ["pictures.log"]
    assert "Traceback" in (project / "results/folder/logs/manifest/pictures.log").read_text()  # the details


@pytest.mark.parametrize("fault", ["unreadable", "shards"])
def test_pictures_that_cannot_be_encoded_are_named(project, pictures, fault):
    config = folder_config(project, str(pictures), shards=5 if fault == "shards" else 1)
    config["run"] = f"folder_{fault}"
    if fault == "unreadable":
        path = pictures / "one" / "1.png"
        path.write_bytes(path.read_bytes()[:30])
        message = "one/1.png: unreadable image"
    else:
        message = "shards: 5 shards, but only 4 images"
    target = f"results/folder_{fault}/features/base/pictures/0.parquet"
    run = snakemake(project, target, "--configfile", write_config(project, config))
    check_refusal(run, message)
    assert not list((project / f"results/folder_{fault}/features").rglob("*.*"))
