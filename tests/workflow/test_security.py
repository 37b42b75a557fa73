"""Names and files from elsewhere: never code, never a path out of the run's folder."""

import ast
import os
import re
import shutil

import configs
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from snakemake_runs import ROOT, copy_project, default_config, snakemake, write_config

from workflow.config.entry import ConfigError

NAMES = [  # folders of classes, names of classes and of pictures
    "two words", "it's", 'say "hi"', "$(touch pwned)", "`touch pwned`", "; touch pwned #",
    "a\nnew line", "-rf", "--help", "ünï 画像 🐦", "{run}", "{wildcards.run}", "%s %d", "*", "back\\slash", "&& false",
    "$HOME", "~", "tab\there", "#", "comma, semicolon;", "<b>|",
]  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("security") / "it's a $(touch pwned) folder")


def files_below(folder):
    """Every file and its content, but for caches of Python."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def hostile_pictures(root):
    """A folder per name with two pictures each, and the class list of it."""
    rng = np.random.default_rng(0)
    for folder in NAMES:
        (root / folder).mkdir(parents=True)
        for name in (NAMES[(NAMES.index(folder) + 3) % len(NAMES)], "plain"):
            Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(root / folder / f"{name}.png")
    return pd.DataFrame({"folder": NAMES, "class_id": range(len(NAMES)), "name": NAMES})


def hostile_config(root, classes):
    """All stages on the pictures, trained for a step or two."""
    pictures = {"reader": "image_folder", "root": root, "classes": classes, "size": 8, "resize": 8}
    vqvae = {
        "patch_nums": [1, 2], "ch": 8, "ch_mult": [1, 2, 2], "num_res_blocks": 1, "z_channels": 4, "vocab_size": 16,
        "norm_groups": 4, "steps": 1, "batch_size": 8, "lr": 0.001,
    }  # fmt: skip
    var = {"depth": 1, "width": 16, "heads": 2, "steps": 1, "batch_size": 8, "lr": 0.001}
    cca = {"beta": 0.1, "lambda": 1, "steps": 1, "batch_size": 8, "lr": 0.001}
    return {
        "run": "hostile",
        "shards": 2,
        "datasets": {"pictures": pictures},
        "models": {
            "base": {"train": {"data": "pictures", "vqvae": vqvae, "var": var}},
            "cca": {"finetune": "base", "cca": cca},
        },
        "classifiers": {
            "varc": {"model": "cca", "funnel": [{"scales": 2, "keep": 1}]},
            "a_varc": {
                "model": "base", "sigma": 0.1,
                "funnel": [{"scales": 1, "keep": 3}, {"scales": 2, "samples": 2, "keep": 1}],
            },
        },
        "evaluate": [{"datasets": ["pictures"], "classifiers": ["varc", "a_varc"]}],
        "ablation": "varc",
    }  # fmt: skip


@pytest.mark.long
def test_hostile_names_are_names_and_nothing_outside_the_run_is_written(project, monkeypatch):
    root, classes = "pictures of $(touch pwned) 'x' {run}", "-list of `touch pwned`.csv"
    hostile_pictures(project / root).to_csv(project / classes, index=False)
    name = write_config(project, hostile_config(root, classes), "the user's $(touch pwned).yaml")
    monkeypatch.setenv("HOME", str(project))
    before = files_below(project.parent)
    run = snakemake(project, "--configfile", name)
    assert run.code == 0, run.output
    report = snakemake(project, "--configfile", name, "--report", "results/hostile/report.html")
    assert report.code == 0, report.output
    expected = {
        f"{folder}/{name}.png": label
        for label, folder in enumerate(NAMES)
        for name in (NAMES[(label + 3) % len(NAMES)], "plain")
    }
    for classifier in ("varc", "a_varc"):
        predictions = pd.read_parquet(project / f"results/hostile/predictions/{classifier}/pictures.parquet")
        assert dict(zip(predictions["image_id"], predictions["label"], strict=True)) == expected
    after = files_below(project.parent)
    allowed = (f"{project.name}/results/hostile/", f"{project.name}/.snakemake/", f"{project.name}/.cache/")
    assert {path for path in after if not path.startswith(allowed)} == set(before)
    assert all(after[path] == content for path, content in before.items())


def test_a_hostile_name_in_a_message_stays_on_its_line(project):
    root = project / "unlisted"
    shutil.rmtree(root, ignore_errors=True)
    (root / "a\n$(touch pwned)").mkdir(parents=True)
    Image.new("L", (8, 8)).save(root / "a\n$(touch pwned)" / "0.png")
    (project / "listed.csv").write_text("folder,class_id,name\nb,0,B\n")
    config = hostile_config("unlisted", "listed.csv") | {"run": "message"}
    target = "results/message/datasets/pictures.parquet"
    run = snakemake(project, target, "--configfile", write_config(project, config))
    assert run.code != 0 and "Traceback" not in run.output
    assert r"'a\n$(touch pwned)' is not in the class list" in run.output
    assert not list(project.rglob("pwned*"))


def test_a_name_that_is_no_unicode_is_refused(project):
    root = project / "bytes"
    shutil.rmtree(root, ignore_errors=True)
    (root / "b").mkdir(parents=True)
    Image.new("L", (8, 8)).save(root / "b" / "0.png")
    os.rename(root / "b" / "0.png", os.fsencode(root / "b") + b"/\xff.png")
    (project / "listed.csv").write_text("folder,class_id,name\nb,0,B\n")
    config = hostile_config("bytes", "listed.csv") | {"run": "bytes"}
    target = "results/bytes/datasets/pictures.parquet"
    run = snakemake(project, target, "--configfile", write_config(project, config))
    assert run.code != 0 and "Traceback" not in run.output
    assert r"bytes/b/\xff.png: its name is not UTF-8; rename it" in run.output


OUTSIDE = {
    "run: a path": ({"run": "../outside"}, "run: '../outside' does not match"),
    "run: absolute": ({"run": "/tmp/outside"}, "run: '/tmp/outside' does not match"),
    "run: hidden": ({"run": ".."}, "run: '..' does not match"),
    "run: a line break": ({"run": "digits\n"}, r"run: 'digits\\n' does not match"),
    "run: an option": ({"run": "-rf"}, "run: '-rf' does not match"),
    "run: a command": ({"run": "$(touch pwned)"}, r"run: '\$\(touch pwned\)' does not match"),
    "datasets: a path": ({"datasets": {"../x": {"reader": "digits"}}}, r"datasets: '\.\./x' does not match"),
    "models: a line break": ({"models": {"base\n": {}}}, r"models: 'base\\n' does not match"),
    "classifiers: a wildcard": ({"classifiers": {"{run}": {}}}, "classifiers: '{run}' does not match"),
    "a checkpoint's log": (
        {"models": {"base": {
            "vqvae": "../vae.pth", "var": "checkpoints/var.pth",
            "hub": {"repo": "a/b", "revision": "0" * 40}, "sha256": {"vqvae": "0" * 64, "var": "0" * 64},
        }}},
        r"models: base: vqvae: '\.\./vae\.pth' is to be downloaded, but is not checkpoints/ and a plain name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_would_lead_out_of_the_run_are_refused(name):
    change, message = OUTSIDE[name]
    with pytest.raises(ConfigError, match=message):
        configs.begun(configs.DIGITS | change)


@pytest.mark.parametrize("name", ["run: a path", "a checkpoint's log"])
def test_such_a_refusal_ends_a_run(project, name):
    change, message = OUTSIDE[name]
    run = snakemake(project, "--configfile", write_config(project, default_config(project) | change))
    assert run.code != 0 and "Traceback" not in run.output
    assert re.search(message, run.output), run.output


def test_a_config_with_python_tags_is_refused_and_not_run(project):
    text = 'run: !!python/object/apply:os.system ["touch pwned_by_yaml"]\n'
    (project / "tags.yaml").write_text(text)
    run = snakemake(project, "--configfile", "tags.yaml")
    assert run.code != 0 and "not valid JSON or YAML" in run.output
    assert not list(project.rglob("pwned*"))


FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "pickle.load", "pickle.loads",
    "pickle.Unpickler", "joblib.load", "np.load", "numpy.load", "pd.read_pickle", "yaml.load", "yaml.unsafe_load",
    "yaml.full_load", "torch.save", "subprocess.getoutput",
}  # fmt: skip


def calls(path):
    """(name as written, the call) of every function call in a Python file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def careless(path):
    """Calls that could run what a file holds, or give a shell what a config holds."""
    for name, call in calls(path):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in FORBIDDEN or (name == "torch.load" and options.get("weights_only") != "True"):
            yield f"{path}:{call.lineno}: {name}"
        if "shell" in options or name == "shell":
            yield f"{path}:{call.lineno}: a shell"


def test_nothing_of_the_project_runs_what_a_file_or_a_config_holds():
    files = [path for part in ("varc", "scripts", "workflow") for path in (ROOT / part).rglob("*.py")]
    assert len(files) > 50
    assert not [line for path in files for line in careless(path)]
    rules = [*(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow/Snakefile"]
    assert len(rules) > 10
    shells = r"^\s+(shell|run|notebook|wrapper):|\bshell\(|\beval\(|\bexec\("
    assert not [path for path in rules if re.search(shells, path.read_text(), re.M)]


@pytest.mark.parametrize("line", ["torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x)", "os.system(x)",
                                  "subprocess.run(x, shell=True)", "eval(x)", "yaml.load(x)"])  # fmt: skip
def test_careless_calls_are_found(tmp_path, line):
    (tmp_path / "a.py").write_text(f"def f(x):\n    return {line}\n")
    assert list(careless(tmp_path / "a.py"))
