"""A run says what made it, its tables are those that its config asks for, and it explains a picture as it scored it."""

import copy
import json
import os
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from configs import begun
from job_graph import graph
from PIL import Image
from rerun_table import read_keys, resolved, with_files
from snakemake_runs import ROOT, copy_project, plan, python, snakemake, write_config

import varc
from varc.classify.runs import read_record
from varc.errors import InputError
from varc.explain.one import explain_image, load_models
from varc.seal import read_json
from workflow.record import asked_tables, git_commit, record, sources, without_record, write_record
from workflow.sources import file_sha256

pytestmark = pytest.mark.long  # whole runs

PREPARED = {"size": 8, "resize": 16, "border": 1}
PICTURES = {"reader": "image_folder", "root": "data", "classes": "classes.csv", **PREPARED}
VQVAE = {
    "patch_nums": [1, 2, 4], "ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "z_channels": 4, "vocab_size": 16,
    "norm_groups": 4, "steps": 3, "batch_size": 4, "lr": 0.003,
}  # fmt: skip
VAR = {"depth": 1, "width": 16, "heads": 2, "steps": 3, "batch_size": 4, "lr": 0.01}
CONFIG = {
    "run": "r",
    "datasets": {"pictures": PICTURES, "learn": PICTURES | {"per_class": 2}},
    "models": {"base": {"train": {"data": "learn", "vqvae": VQVAE, "var": VAR}}},
    "classifiers": {
        "varc": {"model": "base", "funnel": [{"scales": 3, "keep": 1}]},
        "pruned": {"model": "base", "funnel": [{"scales": 1, "keep": 2}, {"scales": 3, "keep": 1}]},
    },
    "evaluate": [{"datasets": ["pictures"], "classifiers": ["varc"]}],
}
WEIGHTS = ("results/r/models/base/vqvae.safetensors", "results/r/models/base/var.safetensors")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished run on 6 pictures of several sizes."""
    folder = copy_project(tmp_path_factory.mktemp("record") / "project")
    rng = np.random.default_rng(0)
    for i in range(6):
        path = folder / f"data/{'abc'[i % 3]}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + i, 30 - 2 * i, 3), np.uint8)).save(path)
    (folder / "classes.csv").write_text("folder,class_id,name\na,0,A\nb,1,B\nc,2,C\n")
    write_config(folder, CONFIG, "first.yaml")
    second = copy.deepcopy(CONFIG)
    second["evaluate"][0]["classifiers"] = ["pruned"]
    write_config(folder, second, "second.yaml")
    run = snakemake(folder, "--configfile", "first.yaml")
    assert run.code == 0, run.output
    return folder


def written(project):
    return yaml.safe_load((project / "results/r/config.yaml").read_text())


# The order matters: the first tests see the run of the first config, later ones those of others.


@pytest.mark.parametrize("told", ["--run", "options", "neither"])
def test_a_picture_gets_the_prediction_and_the_log_likelihoods_of_the_run(project, told, monkeypatch):
    monkeypatch.chdir(project)
    models = load_models(*WEIGHTS)
    manifest = pd.read_parquet("results/r/datasets/pictures.parquet")
    predicted = pd.read_parquet("results/r/predictions/varc/pictures.parquet").set_index("image_id")
    scores = pd.read_parquet("results/r/scores/base/pictures/all/scales3/clean/0.parquet")
    scores = scores.set_index(["image_id", "class_id"])["log_likelihood"]
    for row in manifest.itertuples():
        found = explain_image(row.path, *models, device="cpu", settings=PREPARED)
        assert found.target == predicted.loc[row.image_id, "prediction"]
        expected = [scores[row.image_id, found.target], scores[row.image_id, found.against]]
        np.testing.assert_allclose(found.log_likelihoods[:2], expected, rtol=1e-5)
    size = [f"--{key}={value}" for key, value in PREPARED.items()]
    weights = ["--vqvae", WEIGHTS[0], "--var", WEIGHTS[1], "--classes", "classes.csv"]
    options = {"--run": ["--run", "results/r"], "options": [*weights, *size], "neither": weights}
    shown = python(project, ["-m", "varc", "explain", row.path, "--output", "shown.png", *options[told]])
    assert shown.code == 0, shown.output
    assert found.summary.replace("class 0", "A").replace("class 1", "B").replace("class 2", "C") in shown.output


def test_a_run_keeps_the_config_that_made_it(project):
    found = written(project)
    made_with = found.pop("made_with")
    told = read_json(project / "results/r/classifiers.json")
    assert told["run"] == "r" and list(told["classifiers"]) == ["varc"] and told["datasets"] == {"pictures": PICTURES}
    assert found == CONFIG
    assert made_with["version"] == varc.__version__
    assert made_with["commit"] is None  # a copy
    assert made_with["sources"]["classes.csv"] == file_sha256(str(project / "classes.csv"))
    assert made_with["sources"].keys() == {"classes.csv", "data"} and len(made_with["sources"]["data"]) == 64


def test_its_own_record_is_a_config_by_which_nothing_runs_again(project):
    record = project / "results/r/config.yaml"
    before = record.read_bytes(), os.stat(record)
    assert not plan(project, "--configfile", "results/r/config.yaml").jobs
    run = snakemake(project, "--configfile", "results/r/config.yaml")
    assert run.code == 0 and "Nothing to be done" in run.output, run.output
    run = snakemake(project, "--configfile", "results/r/config.yaml", "--forcerun", "gflops")  # a run that does a job
    assert run.code == 0, run.output
    after = record.read_bytes(), os.stat(record)
    assert (before[0], before[1].st_mtime_ns) == (after[0], after[1].st_mtime_ns)


def test_a_dry_run_changes_nothing(project):
    before = {path: os.stat(path).st_mtime_ns for path in (project / "results").rglob("*")}
    assert plan(project, "--configfile", "second.yaml").jobs["accuracy"] == 1
    assert {path: os.stat(path).st_mtime_ns for path in (project / "results").rglob("*")} == before


def test_a_table_that_the_config_no_longer_asks_for_is_set_aside(project):
    tables = project / "results/r/tables"
    (tables / "mine.csv").write_text("of the user")
    for name in ("plan.csv", "plan.md"):
        (tables / name).write_text("of another command")
    pruning = {name: (tables / name).read_bytes() for name in ("pruning.csv", "pruning.md", "pruning.svg")}
    run = snakemake(project, "results/r/tables/gflops.csv", "--configfile", "second.yaml")  # not what decides
    assert run.code == 0, run.output
    (line,) = [line for line in run.output.splitlines() if "stale" in line]
    assert line.startswith("results/r/tables: pruning.csv, pruning.md, pruning.svg moved to stale/: ")
    assert line.endswith("second.yaml does not ask for them")
    assert {path.name: path.read_bytes() for path in (tables / "stale").iterdir()} == pruning
    assert {"accuracy.csv", "cost.md", "mine.csv", "plan.csv", "plan.md"} <= {path.name for path in tables.iterdir()}
    assert written(project)["evaluate"][0]["classifiers"] == ["pruned"]
    for name in ("plan.csv", "plan.md"):
        (tables / name).unlink()
    run = snakemake(project, "--configfile", "first.yaml")
    assert run.code == 0 and "stale" not in run.output, run.output
    assert (tables / "pruning.csv").read_bytes() == pruning["pruning.csv"]


@pytest.mark.parametrize("shifts", [True, False])
def test_a_config_asks_for_all_tables_that_its_jobs_write(tmp_path, shifts):
    """Of the config that has every key: nothing that its own jobs write would be set aside."""
    folder = with_files(tmp_path)
    config = resolved(read_keys(), None)
    if not shifts:
        del config["shifts"]
    (folder / "all.json").write_text(json.dumps(config))
    with graph(folder / "all.json", folder, {"all", "plan"}) as workflow:
        asked = asked_tables(workflow.globals["RUN"], workflow.globals["TARGETS"])
        outputs = {os.path.split(file) for job in workflow.dag.jobs for file in job.output}
    made = {name for folder, name in outputs if folder == f"results/{config['run']}/tables"}
    assert len(made) > 20 and made == asked
    assert ("robustness.svg" in made) == shifts


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent/config\.yaml: cannot be read .*; give the folder of a run"):
        read_record(tmp_path / "absent")
    (tmp_path / "config.yaml").write_text("[1, 2")
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read"):
        read_record(tmp_path)
    (tmp_path / "config.yaml").write_text("run: x\n")
    with pytest.raises(InputError, match=r"config\.yaml: is no config of a run"):
        read_record(tmp_path)


def test_a_commit_is_that_of_the_code_alone(tmp_path):
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", git_commit(ROOT) or "0" * 40)
    assert git_commit(tmp_path) is None
    assert git_commit(ROOT / "tests") is None  # a folder of the repository that holds no code of its own


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_a_record_gives_its_config_back(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for the digests that are kept
    for folder in ("config", "data"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    config = yaml.safe_load((ROOT / "config" / name).read_text())
    run = begun(config).run
    text = record(run, config, "0" * 40, sources(run))
    assert without_record(yaml.safe_load(text)) == config
    again = begun(yaml.safe_load(text)).run  # a record is a config, and its record is the same
    assert record(again, yaml.safe_load(text), "0" * 40, sources(again)) == text


def test_a_record_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(InputError, match=r"config\.yaml: cannot be written"):
        write_record(tmp_path / "config.yaml", "x")


def swap_halves(path):
    """Other pixels in a picture of the same size in bytes, with its time put back."""
    before = path.stat()
    image = Image.open(path).convert("RGB")
    pixels = np.asarray(image)[::-1]
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: before.st_size].ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def append(path):
    path.write_bytes(path.read_bytes() + b"x")


def flip_in_the_middle(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


UNFIT = {
    "results/r/features/base/pictures/0.parquet": (flip_in_the_middle, "{}: damaged"),
    "results/r/models/base/var.safetensors": (flip_in_the_middle, "{}: its SHA-256 is not the one in var.json"),
    "results/r/models/base/var.json": (flip_in_the_middle, "{}: damaged"),
    "results/r/datasets/pictures.parquet": (append, "{}: damaged"),
    "classes.csv": (append, "{}: is not what it was since the run began"),
}


def test_verify_finds_whatever_no_longer_fits_and_nothing_else(project):
    def verified():
        return snakemake(project, "verify", "--configfile", "first.yaml")

    assert snakemake(project, "--configfile", "first.yaml").code == 0
    run = verified()
    assert run.code == 0 and " files of results/r fit" in run.output, run.output
    picture = project / "data/b/1.png"
    for path, (damage, message) in {**UNFIT, "data/b/1.png": (swap_halves, "1.png: its pixels are not those")}.items():
        content, times = (project / path).read_bytes(), (project / path).stat()
        damage(project / path)
        if path.startswith("data"):
            now = picture.stat()
            assert (now.st_size, now.st_mtime_ns) == (times.st_size, times.st_mtime_ns)
        run = verified()
        assert run.code != 0 and message.format(path) in run.output and "Traceback" not in run.output, run.output
        (project / path).write_bytes(content)
        os.utime(project / path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert verified().code == 0
