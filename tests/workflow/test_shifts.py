"""Shifts in the pipeline: what the key expands to, and a finished run on digits."""

import copy

import numpy as np
import pandas as pd
import pytest
from configs import read
from snakemake_runs import copy_project, default_config, plan, snakemake, write_config

from varc.data.classes import data_set_classes
from varc.data.manifest import load_images, manifest
from varc.metrics.accuracy import wilson_interval
from workflow.config.data import shift_runs
from workflow.config.entry import ConfigError
from workflow.run import Run

pytestmark = pytest.mark.long  # whole runs

SHIFTS = [{"dataset": "test", "classifiers": ["means", "knn"], "names": ["blur", "translation"], "severities": [2, 5]}]
CONFIG = {
    "run": "shifts",
    "shards": 1,
    "datasets": {name: {"reader": "digits", "split": name} for name in ("train", "calibration", "test")},
    "models": {"unused": {"vqvae": "vae.pth", "var": "var.pth", "architecture": "var_d16"}},
    "baselines": {
        "means": {"family": "nearest_mean", "shape": {"image_size": 8}, "train": {"data": "train"}},
        "memory": {"family": "knn", "shape": {"image_size": 8, "memory": 973}, "train": {"data": "train"}},
    },
    "classifiers": {
        "means": {"baseline": "means", "calibrate": "calibration"},
        "knn": {"baseline": "memory", "stages": [{"k": 3}]},
    },
    "evaluate": [{"datasets": ["test"], "classifiers": ["knn"]}],
    "shifts": SHIFTS,
}
MADE = ["test-blur2", "test-blur5", "test-translation2", "test-translation5"]


def test_shifts_become_data_sets_and_pairs():
    found = read(CONFIG)
    assert list(found.datasets) == sorted(["train", "calibration", "test", *MADE])
    clean = CONFIG["datasets"]["test"]
    assert found.datasets["test-translation2"].params() == clean | {"shift": {"name": "translation", "severity": 2}}
    assert found.evaluate[1].given() == {"datasets": ["test", *MADE], "classifiers": ["means", "knn"]}
    assert Run(found).clean([("test", "knn"), ("test-blur2", "knn")]) == [("test", "knn")]
    runs = shift_runs(found.shifts)
    assert runs[0] == ("test", "clean", 0, "means", "test")
    assert runs[-1] == ("test", "translation", 5, "knn", "test-translation5") and len(runs) == 10


def test_a_config_without_shifts_stays_as_it_is():
    config = {key: value for key, value in CONFIG.items() if key != "shifts"}
    assert list(read(config).datasets) == ["calibration", "test", "train"] and shift_runs(read(config).shifts) == []


MISTAKES = {
    "unknown data set": ({"dataset": "tset"}, "shifts: 0: dataset: 'tset' is not defined"),
    "unknown classifier": ({"classifiers": ["kmm"]}, "shifts: 0: classifiers: 'kmm' is not defined"),
    "shifted twice": ({"dataset": "moved"}, "shifts: 0: dataset: moved has a shift already"),
    "a name that is taken": ({"names": ["sketch"], "severities": [1]}, "makes the data set test-sketch1, which is"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name):
    change, message = MISTAKES[name]
    config = copy.deepcopy(CONFIG)
    moved = {"reader": "digits", "split": "test", "shift": {"name": "blur", "severity": 1}}
    config["datasets"] |= {"moved": moved, "test-sketch1": moved}
    config["shifts"][0] |= change
    with pytest.raises(ConfigError, match=message):
        read(config)


def test_one_data_set_has_one_entry():
    with pytest.raises(ConfigError, match="shifts: 1: dataset: test is in an entry before"):
        read(CONFIG | {"shifts": SHIFTS * 2})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("shifts") / "project")
    run = snakemake(folder, "--configfile", write_config(folder, CONFIG, "shifts.yaml"))
    assert run.code == 0, run.output
    return folder


@pytest.fixture
def results(project):
    return project / "results" / "shifts"


def nearest_means(shift):
    """Whether the class with the nearest mean is right, on shifted digits."""
    parts = []
    for spec in (CONFIG["datasets"]["train"], CONFIG["datasets"]["test"] | shift):
        listed, _ = manifest(spec, data_set_classes(spec))
        parts.append((load_images(spec, listed, 8).reshape(len(listed), -1) / 1.0, np.array([r.label for r in listed])))
    (train, labels), (test, truth) = parts
    means = np.stack([train[labels == y].mean(0) for y in range(10)])
    return ((test[:, None] - means) ** 2).sum(2).argmin(1) == truth


def test_the_table_has_what_a_plain_loop_over_shifted_images_gives(results):
    table = pd.read_csv(results / "tables/robustness.csv").set_index(["shift", "severity", "classifier"])["top1"]
    blur = [nearest_means({"shift": {"name": "blur", "severity": severity}}).mean() for severity in (2, 5)]
    move = [nearest_means({"shift": {"name": "translation", "severity": severity}}).mean() for severity in (2, 5)]
    assert [table["blur", severity, "means"] for severity in ("2", "5", "mean")] == pytest.approx(
        [*blur, np.mean(blur)]
    )
    assert table["translation", "5", "means"] == pytest.approx(move[1])
    assert table["all", "mean", "means"] == pytest.approx(np.mean(blur + move))


def test_the_rows_are_those_of_the_clean_images_and_relative_drops(results):
    table = pd.read_csv(results / "tables/robustness.csv")
    assert (table["dataset"] == "test").all() and (table["left_out"] == 0).all() and (table["images"] == 454).all()
    clean = table[table["shift"].isna()].set_index("classifier")["top1"]
    assert sorted(clean.index) == ["knn", "means"]
    shifted = table[table["shift"].notna()]
    assert len(shifted) == 2 * (2 * 3 + 1) and set(shifted["model"]) == {"means", "memory"}
    assert shifted["relative_drop"].to_numpy() == pytest.approx(1 - shifted["top1"] / shifted["classifier"].map(clean))
    single = shifted[shifted["severity"] != "mean"]
    for row in single.itertuples():
        assert (row.top1_low, row.top1_high) == pytest.approx(wilson_interval(round(row.top1 * 454), 454))


def test_pairs_are_compared_on_the_same_images(results):
    paired = pd.read_csv(results / "tables/robustness_paired.csv").set_index("shift")
    table = pd.read_csv(results / "tables/robustness.csv")
    lost = table[table["severity"] == "mean"].set_index(["shift", "classifier"])["relative_drop"]
    assert paired.index.tolist() == ["blur", "translation", "all"]
    assert set(paired["classifier"]) == {"knn"} and set(paired["against"]) == {"means"}
    for shift, row in paired.iterrows():
        assert row["relative_drop_difference"] == pytest.approx(lost[shift, "knn"] - lost[shift, "means"])
        assert (
            row["relative_drop_difference_low"]
            <= row["relative_drop_difference"]
            <= row["relative_drop_difference_high"]
        )
    assert (results / "tables/robustness.svg").stat().st_size > 10_000


def test_other_tables_are_of_the_images_without_a_shift(results):
    for name in ("main", "pruning", "calibration"):
        assert set(pd.read_csv(results / f"tables/{name}.csv")["dataset"]) == {"test"}
    assert set(pd.read_csv(results / "tables/accuracy.csv")["dataset"]) == {"test", *MADE}


def test_the_same_images_have_the_same_names(results):
    ids = [pd.read_parquet(results / f"datasets/{name}.parquet")["image_id"].tolist() for name in ("test", *MADE)]
    assert all(own == ids[0] for own in ids)


def test_a_further_severity_scores_its_own_images_alone(project):
    config = CONFIG | {"shifts": [SHIFTS[0] | {"severities": [2, 3, 5]}]}
    jobs = plan(project, "--configfile", write_config(project, config)).jobs
    assert jobs["manifest"] == 2 and jobs["train_baseline"] == 0
    assert jobs["score_baseline"] == 2 * 2 and jobs["predict"] == 2 * 2
    assert jobs["robustness"] == jobs["robustness_paired"] == 1


def test_the_plan_knows_shifted_images(tmp_path):
    project = copy_project(tmp_path / "project")
    config = default_config(project) | {"run": "planned", "gflops_per_second": 100}
    config["shifts"] = [{"dataset": "digits", "classifiers": ["a_varc"], "names": ["blur"], "severities": [1, 5]}]
    name = write_config(project, config, "planned.yaml")
    run = snakemake(project, "plan", "--configfile", name)
    assert run.code == 0, run.output
    table = pd.read_csv(project / "results/planned/tables/plan.csv")
    assert {"digits-blur1", "digits-blur5"} <= set(table["dataset"])
    jobs = plan(project, "--configfile", name).jobs
    assert table["jobs"].iloc[-1] == sum(jobs[rule] for rule in ("encode", "tokenize", "score", "finetune"))
