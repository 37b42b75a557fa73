"""The same run with 1, 2 and 5 shards."""

import numpy as np
import pandas as pd
import pytest
from job_graph import run_missing
from snakemake_runs import copy_project, default_config, write_config

pytestmark = pytest.mark.long  # whole runs

SHARDS = (1, 2, 5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The default a_varc on the validation split, trained for a few steps only: one run per number of shards."""
    folder = copy_project(tmp_path_factory.mktemp("shards") / "project")
    for shards in SHARDS:
        config = default_config(folder)
        config |= {"run": f"shards{shards}", "shards": shards}
        config["datasets"]["digits"]["split"] = "validation"
        train = config["models"]["base"]["train"]
        train["data"] = "digits"
        train["vqvae"]["steps"], train["var"]["steps"], train["var"]["samples"] = 60, 60, 1
        target = f"results/shards{shards}/predictions/a_varc/digits.parquet"
        run_missing(folder / write_config(folder, config), folder, target)
    return {shards: folder / "results" / f"shards{shards}" for shards in SHARDS}


@pytest.mark.parametrize("shards", SHARDS[1:])
def test_predictions_do_not_depend_on_the_number_of_shards(runs, shards):
    one, many = (pd.read_parquet(runs[n] / "predictions/a_varc/digits.parquet") for n in (1, shards))
    assert len(one) == 185
    columns = [name for name in one if name not in ("score", "margin")]
    pd.testing.assert_frame_equal(one[columns], many[columns])
    assert np.abs(one["score"] - many["score"]).max() < 1e-3


@pytest.mark.parametrize("shards", SHARDS[1:])
def test_log_likelihoods_do_not_depend_on_the_number_of_shards(runs, shards):
    def read(n, folder):
        return pd.concat(pd.read_parquet(runs[n] / folder / f"{i}.parquet") for i in range(n)).reset_index(drop=True)

    stages = {"clean": "all/scales4", "sigma0.2spread-2": "3x1-keep5.4x1-keep3/scales4"}
    for noise, stage in stages.items():
        tokens = [read(n, f"tokens/base/digits/{noise}") for n in (1, shards)]
        assert tokens[0]["image_id"].equals(tokens[1]["image_id"])
        assert (np.stack(tokens[0]["tokens"]) == np.stack(tokens[1]["tokens"])).all()
        scores = [read(n, f"scores/base/digits/{stage}/{noise}") for n in (1, shards)]
        assert scores[0][["image_id", "class_id"]].equals(scores[1][["image_id", "class_id"]])
        assert np.abs(scores[0]["log_likelihood"] - scores[1]["log_likelihood"]).max() < 1e-3
