"""An any-order model that is trained here, through the pipeline: a run of rivals alone."""

import numpy as np
import pandas as pd
import pytest
from snakemake_runs import copy_project, plan, snakemake, write_config

CONFIG = {
    "run": "orders",
    "shards": 2,
    "datasets": {name: {"reader": "digits", "split": name} for name in ("train", "calibration", "test")},
    "models": {},
    "baselines": {
        "small": {
            "family": "randar",
            "shape": {"image_size": 8, "depth": 1, "width": 16, "heads": 2, "vocab_size": 16, "z_channels": 4}
            | {"ch": 32, "ch_mult": [1, 1, 1]},
            "train": {"data": "train", "steps": 40, "batch_size": 32, "lr": 0.01}
            | {"vq_steps": 20, "vq_batch_size": 16, "vq_lr": 0.003},
        }
    },
    "classifiers": {
        "funnel": {"baseline": "small", "stages": [{"tokens": 2, "keep": 4}, {"orders": 2}]},
        "soft": {"baseline": "small", "calibrate": "calibration", "stages": [{"orders": 2, "combine": "softmax"}]},
    },
    "evaluate": [{"datasets": ["test"], "classifiers": ["funnel", "soft"]}],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished run."""
    folder = copy_project(tmp_path_factory.mktemp("orders") / "project")
    done = snakemake(folder, "--configfile", write_config(folder, CONFIG))
    assert done.code == 0, done.output
    return folder


def test_all_tables_are_there(project):
    tables = project / "results/orders/tables"
    accuracy = pd.read_csv(tables / "accuracy.csv").set_index("classifier")
    assert set(accuracy.index) == {"funnel", "soft"}
    assert (accuracy["top1"] > 0.2).all()  # ten classes
    assert pd.read_csv(tables / "main.csv")["parameters"].gt(0).all()
    assert pd.read_csv(tables / "calibration.csv")["classifier"].tolist() == ["soft"]
    pruning = pd.read_csv(tables / "pruning.csv")
    assert set(pruning["model"]) == {"funnel", "soft"}
    predictions = pd.read_parquet(project / "results/orders/predictions/soft/test.parquet")
    first = pruning[(pruning["model"] == "soft") & (pruning["k"] == 1)]["recall"].item()
    assert first == pytest.approx((predictions["prediction"] == predictions["label"]).mean())


def test_softmax_is_the_mean_over_orders_and_shards_are_apart(project):
    folder = project / "results/orders/scores/small/test/all"
    orders = [pd.concat(pd.read_parquet(folder / f"order{i}/{s}.parquet") for s in (0, 1)) for i in (0, 1)]
    scores = np.stack([table["log_likelihood"].to_numpy().reshape(-1, 10) for table in orders])
    softmax = np.exp(scores) / np.exp(scores).sum(2, keepdims=True)
    found = pd.read_parquet(project / "results/orders/predictions/soft/test.parquet")
    assert np.allclose(np.exp(found["score"]), softmax.mean(0).max(1))
    assert found["prediction"].tolist() == softmax.mean(0).argmax(1).tolist()


def test_a_plan_counts_every_job(project):
    """Plans take what each job does, its encoding too; gflops.csv counts the encoding once."""
    settings = CONFIG | {"gflops_per_second": 100, "run": "planned"}
    done = snakemake(project, "plan", "--configfile", write_config(project, settings, "planned.yaml"))
    assert done.code == 0, done.output
    found = plan(project, "--configfile", write_config(project, CONFIG | {"run": "new"}, "new.yaml"))
    assert found.jobs["score_baseline"] == 2 * (1 + 2 + 2 + 2)  # shards: prefix, its two orders, all of both data sets
    assert found.jobs["train_baseline"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": None}, "models"),
        (
            {"classifiers": CONFIG["classifiers"] | {"var": {"model": "base", "funnel": [{"scales": 4, "keep": 1}]}}},
            "base",
        ),
    ],
)
def test_what_names_a_model_that_is_not_there_is_refused(project, change, message):
    done = snakemake(project, "--dry-run", "--configfile", write_config(project, CONFIG | change, "refused.yaml"))
    assert done.code != 0 and message in done.output


def test_models_may_be_left_out(project):
    settings = {key: value for key, value in CONFIG.items() if key != "models"}
    assert not plan(project, "--configfile", write_config(project, settings, "without.yaml")).jobs
