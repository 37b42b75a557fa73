"""A run as a user starts it, each job a new process, gives what the other tests' forks of one process give."""

import pandas as pd
import pytest
from snakemake_runs import copy_project, default_config, snakemake, write_config


def short(project):
    """The default funnel in one shard, trained for two steps, evaluated on few images."""
    config = default_config(project)
    train = config["models"]["base"]["train"]
    train["vqvae"]["steps"] = train["var"]["steps"] = 2
    train["var"]["samples"] = 1
    config["datasets"]["digits"]["per_class"] = config["datasets"]["digits_train"]["per_class"] = 5
    del config["ablation"]
    return config | {"shards": 1, "evaluate": [{"datasets": ["digits"], "classifiers": ["a_varc"]}]}


@pytest.mark.long
def test_jobs_that_are_new_processes_give_what_forks_give(tmp_path):
    found = {}
    for cold in (False, True):
        project = copy_project(tmp_path / f"a folder, cold {cold}")
        run = snakemake(
            project,
            "results/digits/tables/accuracy.csv",
            "--configfile",
            write_config(project, short(project)),
            cold=cold,
        )
        assert run.code == 0, run.output
        results = project / "results/digits"
        accuracy = pd.read_csv(results / "tables/accuracy.csv").drop(columns="seconds_per_image")
        found[cold] = accuracy, pd.read_parquet(results / "predictions/a_varc/digits.parquet")
    for warm, own in zip(found[False], found[True], strict=True):
        assert len(own)
        pd.testing.assert_frame_equal(warm, own)
