"""Public checkpoints through the whole pipeline: the numbers of the public code, and what a file on disk can do."""

import json
import os
import re

import numpy as np
import pandas as pd
import parity
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from snakemake_runs import copy_project, plan, snakemake, write_config

from varc.files import file_sha256

pytestmark = pytest.mark.long  # whole runs

CLASSES = 20


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The reference's pictures and weights as files, evaluated by varc and by a smoothed funnel."""
    folder = copy_project(tmp_path_factory.mktemp("public") / "project")
    vqvae, var = parity.models()
    (folder / "checkpoints").mkdir()
    torch.save(vqvae.state_dict(), folder / "checkpoints" / "vae.pth")
    torch.save({"trainer": {"var_wo_ddp": var.state_dict()}}, folder / "checkpoints" / "var.pth")
    for i, pixels in enumerate(parity.reference()["images"]):
        path = folder / "data" / f"n{i}"
        path.mkdir(parents=True)
        Image.fromarray(pixels).save(path / "picture.png")
    rows = [f"n{i},{i},class {i}" for i in range(CLASSES)]
    (folder / "classes.csv").write_text("\n".join(["folder,class_id,name", *rows]))
    (folder / "public.yaml").write_text(yaml.safe_dump(config()))
    run = snakemake(folder, "--configfile", "public.yaml")
    assert run.code == 0, run.output
    return folder


def config(**model):
    return {
        "run": "public",
        "shards": 2,
        "datasets": {
            "pictures": {"reader": "image_folder", "root": "data", "classes": "classes.csv", "size": 256, "resize": 256}
        },
        "models": {"small": {"vqvae": "checkpoints/vae.pth", "var": "checkpoints/var.pth", **model}},
        "classifiers": {
            "varc": {"model": "small", "funnel": [{"scales": 10, "keep": 1}]},
            "smoothed": {
                "model": "small",
                "sigma": 0.1,
                "funnel": [{"scales": 6, "keep": 5}, {"scales": 10, "samples": 2, "keep": 1}],
            },
        },
        "evaluate": [{"datasets": ["pictures"], "classifiers": ["varc", "smoothed"]}],
    }


def vqvae_folder(project):
    return "vae-" + file_sha256(project / "checkpoints" / "vae.pth")[:8]


def test_tokens_and_scores_are_the_public_codes(project):
    results, reference = project / "results" / "public", parity.reference()
    tokens = pd.concat(
        pd.read_parquet(results / f"tokens/{vqvae_folder(project)}/pictures/clean/{s}.parquet") for s in (0, 1)
    )
    assert (np.stack(tokens["tokens"]) == reference["tokens"]).all()
    scores = pd.concat(
        pd.read_parquet(results / f"scores/small/pictures/all/scales10/clean/{s}.parquet") for s in (0, 1)
    )
    per_scale = np.stack(scores["per_scale"]).reshape(3, CLASSES, 10)
    assert np.abs(per_scale - reference["log_prob_per_scale"][:, :CLASSES]).max() < 1e-2
    predictions = pd.read_parquet(results / "predictions/varc/pictures.parquet")
    expected = reference["log_prob_per_scale"][:, :CLASSES].sum(-1).argmax(1)
    assert predictions["prediction"].tolist() == expected.tolist()


def test_provenance_names_the_weights_and_the_preprocessing(project):
    results = project / "results" / "public"
    metadata = pq.read_schema(results / "scores/small/pictures/all/scales10/clean/0.parquet").metadata[b"varc"]
    record = yaml.safe_load(metadata)
    assert record["var_sha256"] == file_sha256(project / "checkpoints" / "var.pth")
    assert record["vqvae_sha256"] == file_sha256(project / "checkpoints" / "vae.pth")
    metadata = pq.read_schema(results / f"features/{vqvae_folder(project)}/pictures/0.parquet").metadata[b"varc"]
    record = yaml.safe_load(metadata)
    assert (record["size"], record["resize"]) == (256, 256)


def test_the_costs_are_read_from_the_tensors(project):
    gflops = pd.read_csv(project / "results/public/tables/gflops.csv").set_index(["classifier", "stage"])["gflops"]
    named = project / "results/named/tables/gflops.csv"
    settings = config(architecture="var_d16") | {"run": "named"}
    run = snakemake(project, named.relative_to(project), "--configfile", write_config(project, settings))
    assert run.code == 0, run.output
    d16 = pd.read_csv(named).set_index(["classifier", "stage"])["gflops"]
    assert d16["varc", "stage1"] == pytest.approx(20 * 139.97113344)
    assert gflops["varc", "stage1"] < d16["varc", "stage1"] / 100


def planned(project, settings):
    return plan(project, "--configfile", write_config(project, settings))


def test_a_touch_reruns_nothing_and_another_content_all_that_came_from_it(project):
    for name in ("vae.pth", "var.pth"):
        os.utime(project / "checkpoints" / name)
    assert not planned(project, config()).jobs
    path = project / "checkpoints" / "var.pth"
    before = path.read_bytes()
    torch.save(torch.load(path)["trainer"]["var_wo_ddp"], path)  # other bytes behind the same name
    try:
        jobs = planned(project, config()).jobs
        assert jobs["score"] == 6 and jobs["predict"] == 2
        assert not jobs["encode"] and not jobs["tokenize"]
    finally:
        path.write_bytes(before)
    path = project / "checkpoints" / "vae.pth"
    before = path.read_bytes()
    torch.save({"var_wo_ddp": torch.load(path)}, path)
    try:
        found = planned(project, config())
        assert found.jobs["encode"] == 2 and found.jobs["tokenize"] == 4 and found.jobs["score"] == 6
        assert not any(vqvae_folder(project) not in file for file in found.files if "/tokens/" in file)
    finally:
        path.write_bytes(before)


def test_a_public_model_is_fine_tuned_without_the_encoder_in_two_processes(project):
    settings = config()
    cca = {"data": "pictures", "beta": 0.1, "lambda": 2, "steps": 3, "batch_size": 2, "lr": 0.001}
    settings["models"]["tuned"] = {"finetune": "small", "cca": cca}
    settings["classifiers"]["tuned"] = {"model": "tuned", "funnel": [{"scales": 10, "keep": 1}]}
    settings["evaluate"][0]["classifiers"].append("tuned")
    jobs = planned(project, settings).jobs
    assert jobs["finetune"] == 1 and jobs["score"] == 2 and not jobs["encode"] and not jobs["tokenize"]
    file = write_config(project, settings, "tuned.yaml")
    target = "results/public/predictions/tuned/pictures.parquet"
    run = snakemake(project, target, "--configfile", file, "--set-resources", "finetune:processes=2")
    assert run.code == 0, run.output
    assert "step 3/3" in run.output
    results = project / "results" / "public"
    card = json.loads((results / "models/tuned/var.json").read_text())
    assert card["processes"] == 2 and card["finetuned_from"] == file_sha256(project / "checkpoints" / "var.pth")
    curve = pd.read_csv(results / "models/tuned/finetune_curve.csv")
    assert curve["log_ratio"].iloc[1] == 0 and abs(curve["log_ratio"].iloc[3]) > 0  # step 0 has no losses
    before, after = (
        pd.read_parquet(results / f"scores/{model}/pictures/all/scales10/clean/0.parquet")["log_likelihood"]
        for model in ("small", "tuned")
    )
    assert (before - after).abs().max() > 0.01


def test_models_with_the_same_vqvae_share_its_tokens(project):
    settings = config()
    settings["models"]["other"] = dict(settings["models"]["small"])
    settings["classifiers"]["other"] = {"model": "other", "funnel": [{"scales": 10, "keep": 1}]}
    settings["evaluate"][0]["classifiers"].append("other")
    jobs = planned(project, settings).jobs
    assert not jobs["encode"] and not jobs["tokenize"]
    assert jobs["score"] == 2


REFUSED = {
    "absent weights": ({"var": "checkpoints/absent.pth"}, "models: small: var: checkpoints/absent.pth: no such file"),
    "another sha256": (
        {"sha256": {"var": "0" * 64}},
        "checkpoints/var.pth has SHA-256 [0-9a-f]{64}, but the config says 000",
    ),
    "another shape": ({"architecture": "var_d16"}, "checkpoints/vae.pth: ch is 32, but its architecture says 160"),
    "patch_nums": (
        {"patch_nums": [1, 2, 3, 4, 5, 6, 8, 10, 13, 17]},
        "has 680 positions, which is not|but the model takes 272",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(project, name):
    model, message = REFUSED[name]
    settings = config(**model) | {"run": "refused"}
    file = write_config(project, settings)
    assert snakemake(project, "--dry-run", "--configfile", file).code == 0
    run = snakemake(project, "--configfile", file)
    assert run.code != 0 and "Traceback" not in run.output
    assert re.search(message, run.output), run.output
    assert not list((project / "results" / "refused").rglob("*[0-9].parquet"))


class Malicious:
    def __reduce__(self):
        return os.system, ("touch was_run",)


def test_a_malicious_checkpoint_is_refused_with_one_message(project):
    torch.save({"var_wo_ddp": {"pos_1LC": Malicious()}}, project / "checkpoints" / "bad.pth")
    settings = config(var="checkpoints/bad.pth") | {"run": "malicious"}
    target = "results/malicious/scores/small/pictures/all/scales6/clean/0.parquet"
    run = snakemake(project, target, "--configfile", write_config(project, settings))
    assert run.code != 0 and "Traceback" not in run.output
    assert "checkpoints/bad.pth: refused" in run.output
    assert not (project / "was_run").exists()


def test_explanations_at_256_pixels_are_the_public_codes(project):
    meta = parity.reference()["meta"]
    who = {"datasets": ["pictures"], "models": ["small"]}
    of_class = {**who, "target": meta["tmi_class"], "against": "unconditional"}
    settings = config()
    settings["explain"] = [
        {**of_class, "methods": ["tmi"], "faithfulness": {"steps": 1}},
        {**of_class, "methods": ["kernel_shap", "edge"], "budget": 2},
        {**who, "methods": ["tmi"], "images": 1, "gallery": 1, "target": "label", "against": "runner_up"},
    ]
    run = snakemake(project, "--configfile", write_config(project, settings, "explain.yaml"))
    assert run.code == 0, run.output
    results, ref = project / "results" / "public", parity.reference()
    folder = results / "maps" / "small" / "pictures" / "tmi"
    target = f"{meta['tmi_class']}-vs-unconditional"
    maps = pd.concat(pd.read_parquet(f) for f in sorted((folder / target).glob("*")))
    assert maps["image_id"].tolist() == ["n0/picture.png", "n1/picture.png", "n2/picture.png"]
    assert np.abs(np.stack(maps["map"]).reshape(-1, 16, 16) - ref["tmi_raw"]).max() < 1e-3
    one = pd.concat(pd.read_parquet(f) for f in sorted((folder / "label-vs-runner_up").glob("*")))
    assert len(one) == 1  # the other shard has none
    table = pd.read_csv(results / "tables" / "explanation.csv")
    assert table["curve"].tolist() == ["insertion", "deletion"] and (table["images"] == 3).all()
    log_p = ref["log_prob_per_scale"].sum(-1)[:, :20]  # of the whole images
    curves = pd.concat(
        pd.read_parquet(results / f"curves/small/pictures/tmi/{target}/varc/{s}.parquet") for s in (0, 1)
    )
    whole = np.stack(curves[curves["curve"] == "insertion"]["scores"]).reshape(3, 2, 20)[:, -1]
    assert np.abs(whole - log_p).max() < 1e-2
    assert (results / "gallery" / "small" / "pictures.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("imagenet100", {"encode": 10, "tokenize": 100, "predict": 8, "ablation": 1}),
        ("imagenet1k", {"encode": 100, "tokenize": 300, "predict": 2}),
        ("robustness", {"manifest": 6, "encode": 30, "predict": 12}),
        ("explain_imagenet100", {"encode": 10, "score_tokens": 20, "explain": 10, "control": 30, "faithfulness": 40}),
        ("cca_imagenet", {"encode": 200, "tokenize": 400, "finetune": 1, "predict": 3, "ablation": 1}),
        ("incremental_imagenet", {"encode": 4, "learn_tasks_var": 15, "learn_tasks_convnet": 15, "incremental": 1}),
    ],
)
def test_the_papers_studies_are_planned_without_data_or_weights(project, name, jobs):
    found = plan(project, "--configfile", f"config/{name}.yaml").jobs
    assert {rule: found[rule] for rule in jobs} == jobs
    run = snakemake(project, "--configfile", f"config/{name}.yaml")
    assert run.code != 0
    assert "root: data/imagenet/val: no such file or folder" in run.output
