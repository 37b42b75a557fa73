"""The order-marginalised classifier through the pipeline, with public weights and no other model."""

import re

import any_order
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from snakemake_runs import copy_project, plan, snakemake, write_config

from varc.files import file_sha256

pytestmark = pytest.mark.long  # whole runs

CLASSES = 8
FILES = {"vq": "checkpoints/vq.pt", "gpt": "checkpoints/gpt.safetensors"}


def config(run="randar", shards=1, **changes):
    """A config; changes: of classifiers' stages."""
    stages = {
        "raster": [{"order": "raster"}],
        "three": [{"orders": 3}],
        "funnel": [{"orders": 1, "tokens": 16, "keep": 4}, {"orders": 1, "keep": 2}, {"orders": 3}],
    } | changes
    return {
        "run": run,
        "shards": shards,
        "datasets": {
            "pictures": {"reader": "image_folder", "root": "data", "classes": "classes.csv", "size": 128, "resize": 128}
        },
        "baselines": {
            "randar": {"family": "randar", "shape": any_order.shape(), "checkpoint": FILES, "classes": CLASSES}
        },
        "classifiers": {name: {"baseline": "randar", "stages": given} for name, given in stages.items()},
        "evaluate": [{"datasets": ["pictures"], "classifiers": list(stages)}],
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The reference's pictures and weights as files, and finished runs in one shard and in two."""
    folder = copy_project(tmp_path_factory.mktemp("randar") / "project")
    (folder / "checkpoints").mkdir()
    states = any_order.states()
    torch.save({"model": states["vq"]}, folder / FILES["vq"])
    save_file(states["gpt"], folder / FILES["gpt"])
    for i, pixels in enumerate(any_order.reference()["images"]):
        path = folder / "data" / f"n{i}"
        path.mkdir(parents=True)
        Image.fromarray(pixels).save(path / "picture.png")
    rows = [f"n{i},{i},class {i}" for i in range(CLASSES)]
    (folder / "classes.csv").write_text("\n".join(["folder,class_id,name", *rows]))
    for run, shards in (("randar", 1), ("two", 2)):
        done = snakemake(folder, "--configfile", write_config(folder, config(run, shards), f"{run}.yaml"))
        assert done.code == 0, done.output
    return folder


def scores(project, candidates, stage, run="randar"):
    """Log-likelihoods (N, M) of a folder of scores, and the candidates (N, M)."""
    files = sorted((project / f"results/{run}/scores/randar/pictures/{candidates}/{stage}").glob("*.parquet"))
    table = pd.concat([pd.read_parquet(file) for file in files])
    images = table["image_id"].nunique()
    return table["log_likelihood"].to_numpy().reshape(images, -1), table["class_id"].to_numpy().reshape(images, -1)


def predictions(project, classifier, run="randar"):
    return pd.read_parquet(project / f"results/{run}/predictions/{classifier}/pictures.parquet")


def test_raster_scores_are_the_public_codes(project):
    expected = any_order.reference()["log_prob_per_token"][:, 0, :CLASSES].astype(float).sum(-1)
    found, _ = scores(project, "all", "raster")
    assert np.abs(found - expected).max() < 64e-3
    assert predictions(project, "raster")["prediction"].tolist() == expected.argmax(1).tolist()


def test_the_funnel_prunes_by_what_its_stages_score(project):
    first, _ = scores(project, "all", "order0-tokens16")
    second, kept = scores(project, "orders1-tokens16-keep4", "order0")
    assert (kept == np.sort(np.argsort(-first, 1)[:, :4], 1)).all()
    two = "orders1-tokens16-keep4.orders1-keep2"
    last = [scores(project, two, f"order{i}") for i in (1, 2)]
    for _, candidates in last:
        assert (candidates == np.sort(np.take_along_axis(kept, np.argsort(-second, 1)[:, :2], 1), 1)).all()
    whole = np.mean([scores(project, "all", f"order{i}")[0] for i in range(3)], axis=0)
    best = np.take_along_axis(whole, last[0][1].astype(int), 1)
    found = predictions(project, "funnel")
    assert found["prediction"].tolist() == np.take_along_axis(last[0][1], best.argmax(1)[:, None], 1)[:, 0].tolist()
    assert np.allclose(found["score"], best.max(1), atol=1e-3)
    assert predictions(project, "three")["prediction"].tolist() == whole.argmax(1).tolist()


def test_a_later_stage_reads_the_order_that_an_earlier_one_scored(project):
    made = project / "results/randar/scores/randar/pictures/orders1-tokens16-keep4.orders1-keep2"
    assert sorted(path.name for path in made.iterdir()) == ["order1", "order2"]


def test_the_number_of_shards_does_not_matter(project):
    for name in ("raster", "three", "funnel"):
        one, two = (predictions(project, name, run).drop(columns=["score", "margin"]) for run in ("randar", "two"))
        pd.testing.assert_frame_equal(one, two)
        assert np.allclose(predictions(project, name)["score"], predictions(project, name, "two")["score"], atol=1e-3)


def test_the_tables_count_passes_and_one_encoding(project):
    tables = project / "results/randar/tables"
    gflops = pd.read_csv(tables / "gflops.csv").set_index(["classifier", "stage"])
    assert gflops.loc[("funnel", "total"), "passes"] == 8 + 4 + 2 * 2
    assert gflops.loc[("three", "total"), "passes"] == 24
    a_pass = gflops.loc[("funnel", "stage2"), "gflops"] / 4
    encoder = gflops.loc[("raster", "total"), "gflops"] - 8 * a_pass
    assert gflops.loc[("three", "total"), "gflops"] == pytest.approx(24 * a_pass + encoder)
    assert gflops.loc[("funnel", "stage1"), "gflops"] == pytest.approx(8 * a_pass * 33 / 129 + encoder)
    pruning = pd.read_csv(tables / "pruning.csv").set_index("model")
    assert set(pruning.index) == {"raster", "three", "funnel"}
    assert set(pd.read_csv(tables / "main.csv")["classifier"]) == {"raster", "three", "funnel"}


def planned(project, settings, name="changed.yaml"):
    return plan(project, "--configfile", write_config(project, settings, name))


def test_more_orders_score_the_new_ones_alone_and_another_combination_none(project):
    found = planned(project, config(three=[{"orders": 5}]))
    new = [file for file in found.files if "/scores/" in file]
    assert sorted(new) == [f"results/randar/scores/randar/pictures/all/order{i}/0.parquet" for i in (3, 4)]
    found = planned(project, config(three=[{"orders": 3, "combine": "softmax"}]))
    assert not found.jobs["score_baseline"] and found.jobs["predict"] == 1
    found = planned(project, config(three=[{"orders": 2}]))
    assert not found.jobs["score_baseline"] and found.jobs["predict"] == 1


def test_combinations_differ_only_in_what_is_predicted_from(project):
    ways = {"soft": "softmax", "most": "logsumexp"}
    settings = config(**{name: [{"orders": 3, "combine": way}] for name, way in ways.items()})
    done = snakemake(project, "--configfile", write_config(project, settings, "combine.yaml"))
    assert done.code == 0, done.output
    per_order = np.stack([scores(project, "all", f"order{i}")[0] for i in range(3)])
    softmax = np.exp(per_order - per_order.max(2, keepdims=True))
    softmax /= softmax.sum(2, keepdims=True)
    assert np.allclose(predictions(project, "soft")["score"], np.log(softmax.mean(0).max(1)), atol=1e-6)
    shift = per_order.max()
    likelihood = np.log(np.exp(per_order - shift).mean(0)) + shift
    assert np.allclose(predictions(project, "most")["score"], likelihood.max(1), atol=1e-6)


def test_weights_that_are_others_than_the_config_says_or_absent_stop_the_run(project):
    settings = config("other")
    right = {part: file_sha256(project / file) for part, file in FILES.items()}
    settings["baselines"]["randar"]["sha256"] = right | {"gpt": "f" * 64}
    file = write_config(project, settings, "digest.yaml")
    done = snakemake(project, "--configfile", file)
    assert done.code != 0
    found = re.escape(f"{FILES['gpt']} has SHA-256 {right['gpt']}, but the config says {'f' * 64}")
    assert re.search(f"baselines: randar: sha256: gpt: {found}", done.output), done.output
    settings["baselines"]["randar"] |= {"sha256": right, "checkpoint": FILES | {"vq": "checkpoints/absent.pt"}}
    done = snakemake(project, "--configfile", write_config(project, settings, "absent.yaml"))
    assert done.code != 0
    assert "baselines: randar: checkpoint: vq: checkpoints/absent.pt: no such file" in done.output
    assert planned(project, settings, "absent.yaml").jobs["score_baseline"]  # a plan needs no weights


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"order": "raster", "orders": 2}], "stages: 0: orders is 2, but order: raster is one order"),
        ([{"tokens": 65}], "stages: 0: tokens is 65, but an image has 64"),
        ([{"orders": 2, "keep": 3}, {"orders": 2}], "stages: 1: orders is 2, and the stage before scores as many"),
        ([{"orders": 0}], "stages: 0: orders"),
        ([{"combine": "median"}], "stages: 0: combine"),
        ([{"draws": 2}], "stages: 0: draws is no key of family randar"),
    ],
)
def test_stages_that_cannot_be_scored_are_refused(project, stages, message):
    done = snakemake(project, "--dry-run", "--configfile", write_config(project, config(three=stages), "refused.yaml"))
    assert done.code != 0
    assert f"classifiers: three: {message}" in done.output
