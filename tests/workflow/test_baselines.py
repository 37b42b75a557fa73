"""Rivals in the pipeline: the simple families, which need seconds."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from snakemake_runs import copy_project, plan, snakemake, write_config

from varc.data.classes import data_set_classes
from varc.data.manifest import load_images, manifest
from varc.seal import read_json, write_json

pytestmark = pytest.mark.long  # whole runs

CONFIG = {
    "run": "rivals",
    "shards": 1,
    "published": "config/published.csv",
    "datasets": {name: {"reader": "digits", "split": name} for name in ("train", "calibration", "test")},
    "models": {"unused": {"vqvae": "vae.pth", "var": "var.pth", "architecture": "var_d16"}},
    "baselines": {
        "means": {"family": "nearest_mean", "shape": {"image_size": 8}, "train": {"data": "train"}},
        "memory": {"family": "knn", "shape": {"image_size": 8, "memory": 973}, "train": {"data": "train"}},
    },
    "classifiers": {
        "nearest_mean": {"baseline": "means", "calibrate": "calibration"},
        "knn": {"baseline": "memory", "stages": [{"k": 3}]},
        "two_stages": {"baseline": "memory", "stages": [{"k": 50, "keep": 4}, {"k": 3}]},
    },
    "evaluate": [{"datasets": ["test"], "classifiers": ["nearest_mean", "knn", "two_stages"]}],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Finished runs of the same rivals, in one shard and in three."""
    folder = copy_project(tmp_path_factory.mktemp("rivals") / "project")
    for run, shards in (("rivals", 1), ("three", 3)):
        config = CONFIG | {"run": run, "shards": shards}
        done = snakemake(folder, "--configfile", write_config(folder, config, f"{run}.yaml"))
        assert done.code == 0, done.output
    return folder


def digits(split):
    """Pixels (N, 192) and labels (N,) of a split."""
    spec = {"reader": "digits", "split": split}
    listed, _ = manifest(spec, data_set_classes(spec))
    return load_images(spec, listed, 8).reshape(len(listed), -1).astype(float), np.array([row.label for row in listed])


def predictions(project, run, classifier):
    return pd.read_parquet(project / f"results/{run}/predictions/{classifier}/test.parquet")


def test_predictions_are_scikit_learns(project):
    (train, train_labels), (test, labels) = digits("train"), digits("test")
    for name, reference in (("nearest_mean", NearestCentroid()), ("knn", KNeighborsClassifier(3, weights="distance"))):
        found = predictions(project, "rivals", name)
        assert (found["label"] == labels).all()
        assert (found["prediction"] == reference.fit(train, train_labels).predict(test)).all()


def test_the_number_of_shards_does_not_matter(project):
    for name in CONFIG["classifiers"]:
        whole, three = (predictions(project, run, name) for run in ("rivals", "three"))
        pd.testing.assert_frame_equal(whole.drop(columns="margin"), three.drop(columns="margin"))
        # A margin is the difference of two scores, each rounded.
        pd.testing.assert_series_equal(whole["margin"], three["margin"], rtol=1e-4)


def test_the_second_stage_scores_the_best_of_the_first(project):
    first = pd.read_parquet(project / "results/rivals/scores/memory/test/all/k50/0.parquet")
    second = pd.read_parquet(project / "results/rivals/scores/memory/test/k50-keep4/k3/0.parquet")
    ranked = first.sort_values(["image_id", "log_likelihood", "class_id"], ascending=[True, False, True])
    best = ranked.groupby("image_id")["class_id"].apply(lambda ids: sorted(ids[:4]))
    assert second.groupby("image_id")["class_id"].apply(sorted).equals(best)


def test_the_tables_have_all_rivals(project):
    tables = project / "results/rivals/tables"
    main = pd.read_csv(tables / "main.csv").set_index("classifier")
    for name in CONFIG["classifiers"]:
        found = predictions(project, "rivals", name)
        assert main.loc[name, "top1"] == pytest.approx((found["prediction"] == found["label"]).mean())
    assert main.loc["nearest_mean", "gflops_per_image"] == pytest.approx(10 * 192 / 1e9)
    assert main.loc["two_stages", "gflops_per_image"] == pytest.approx(2 * 973 * 192 / 1e9)
    assert main.loc["knn", ["family", "training_images", "parameters"]].tolist() == ["knn", 973, 973 * 193]
    paired = pd.read_csv(tables / "main_paired.csv").set_index(["classifier", "against"])
    assert sorted(paired.index) == [("nearest_mean", "knn"), ("two_stages", "knn"), ("two_stages", "nearest_mean")]
    right = {
        name: (found := predictions(project, "rivals", name))["prediction"] == found["label"] for name in main.index
    }
    for (one, other), row in paired.iterrows():
        assert row["difference"] == pytest.approx(main.loc[one, "top1"] - main.loc[other, "top1"])
        assert (row["gained"], row["lost"]) == ((right[one] & ~right[other]).sum(), (right[other] & ~right[one]).sum())
        assert (row["low"] > 0 or row["high"] < 0) == (row["p"] < 0.05) and row["p"] <= row["p_holm"] <= 1
    pruning = pd.read_csv(tables / "pruning.csv").set_index(["model", "k"])
    found = predictions(project, "rivals", "two_stages")
    assert pruning.loc[("two_stages", 4), "recall"] == pytest.approx((found["rank_stage1"] <= 4).mean())
    assert pd.read_csv(tables / "calibration.csv")["classifier"].tolist() == ["nearest_mean"]


def test_an_edit_of_a_familys_file_reruns_that_family_alone(project):
    file = project / "varc" / "baselines" / "knn.py"
    before = file.read_text()
    file.write_text(before + "\n# edited\n")
    jobs = plan(project, "--configfile", "rivals.yaml").jobs
    file.write_text(before)
    assert jobs["train_baseline"] == 1 and jobs["score_baseline"] == 3 and jobs["predict"] == 2
    assert jobs["manifest"] == 0


def test_a_changed_key_of_a_stage_reruns_that_stage_alone(project):
    config = CONFIG | {"classifiers": CONFIG["classifiers"] | {"knn": {"baseline": "memory", "stages": [{"k": 5}]}}}
    jobs = plan(project, "--configfile", write_config(project, config)).jobs
    assert jobs["train_baseline"] == 0 and jobs["score_baseline"] == 1 and jobs["predict"] == 1


def test_a_changed_keep_does_not_score_its_stage_again(project):
    stages = [{"k": 50, "keep": 5}, {"k": 3}]
    config = CONFIG | {"classifiers": CONFIG["classifiers"] | {"two_stages": {"baseline": "memory", "stages": stages}}}
    jobs = plan(project, "--configfile", write_config(project, config)).jobs
    assert jobs["prune"] == 1 and jobs["score_baseline"] == 1 and jobs["predict"] == 1


def test_weights_of_another_shape_are_refused(project):
    weights = project / "results/rivals/baselines/memory.json"
    before = weights.read_text()
    card = read_json(weights)
    card["architecture"]["shape"]["memory"] = 900
    write_json(weights, card)
    file = "results/rivals/scores/memory/test/all/k3/0.parquet"
    run = snakemake(project, file, "--force", "--configfile", "rivals.yaml")
    weights.write_text(before)
    assert run.code != 0 and "the shape is not the config's; delete it and run again" in run.output


def test_public_weights_that_are_absent_stop_the_run_before_its_first_job(project):
    vit = {"family": "vit", "shape": {"image_size": 8, "patch_size": 2, "width": 8, "depth": 1, "heads": 1}}
    config = CONFIG | {
        "run": "public",
        "baselines": {"public_vit": vit | {"checkpoint": "checkpoints/vit", "classes": 10}},
        "classifiers": {"vit": {"baseline": "public_vit"}},
        "evaluate": [{"datasets": ["test"], "classifiers": ["vit"]}],
    }
    name = write_config(project, config)
    assert plan(project, "--configfile", name).jobs["score_baseline"] == 1
    for file in ("", "config.json"):  # which is there, and the weights are not
        if file:
            (project / "checkpoints/vit").mkdir(parents=True)
            (project / "checkpoints/vit" / file).write_text("{}")
        run = snakemake(project, "--configfile", name)
        assert run.code != 0
        assert "baselines: public_vit: checkpoint: checkpoints/vit: no safetensors there" in run.output
    assert not (project / "results/public/datasets").exists()


def inputs_of(project, rule, config):
    """The inputs of a rule's first job, by a dry run."""
    run = snakemake(project, "--dry-run", "--configfile", write_config(project, config))
    assert run.code == 0, run.output
    return re.search(rf"rule {rule}:\n    input: (.*)", run.output)[1].split(", ")


def test_costs_depend_on_the_class_list_of_the_training_images(project):
    classes = "\n".join(["folder,class_id,name", *(f"{i},{i},{i}" for i in range(10))])
    (project / "own.csv").write_text(classes)
    train = CONFIG["datasets"]["train"] | {"classes": "own.csv"}
    config = CONFIG | {"run": "own", "datasets": CONFIG["datasets"] | {"train": train}}
    assert "own.csv" in inputs_of(project, "gflops", config)


def test_the_main_table_counts_no_training_that_began_with_public_weights(project):
    cca = {"beta": 0.1, "lambda": 1, "steps": 1, "batch_size": 8, "lr": 0.1, "data": "train"}
    model = {"vqvae": "vae.pth", "var": "var.pth", "patch_nums": [1, 2, 3, 4]}
    config = CONFIG | {
        "run": "half_public",
        "models": {"public": model, "tuned": {"finetune": "public", "cca": cca}},
        "classifiers": CONFIG["classifiers"] | {"varc": {"model": "tuned", "funnel": [{"scales": 4, "keep": 1}]}},
        "evaluate": [{"datasets": ["test"], "classifiers": ["varc", "nearest_mean"]}],
    }
    cards = [file for file in inputs_of(project, "main", config) if file.endswith(".json")]
    assert cards == ["results/half_public/baselines/means.json"]
