"""Files that do not belong together are refused, where Snakemake alone would take them."""

import copy
import json
import os
import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest
from job_graph import run_missing
from snakemake_runs import copy_project, default_config, snakemake, write_config

from varc.seal import seal

pytestmark = pytest.mark.slow  # whole runs

FUNNEL = [{"scales": 2, "keep": 3}, {"scales": 4, "keep": 1}]
CANDIDATES = "candidates/{}/digits/2x1-keep3/0.parquet"
DIT = {"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "channels": 1}
DIT_TRAINING = {"data": "digits_train", "steps": 2, "batch_size": 8, "lr": 0.001}
SCORES = "scores/{}/digits/2x1-keep3/scales4/clean/0.parquet"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two models that share a VQ-VAE, hardly trained, with a funnel each."""
    folder = copy_project(tmp_path_factory.mktemp("stale") / "project")
    config = default_config(folder)
    train = config["models"]["base"]["train"]
    train["vqvae"]["steps"] = train["var"]["steps"] = 2
    train["var"]["samples"] = 1
    other = copy.deepcopy(train) | {"vqvae": "base"}
    other["var"]["steps"] = 3
    config["datasets"]["digits"]["split"] = "validation"
    config |= {
        "run": "stale",
        "shards": 1,
        "models": {"base": {"train": train}, "other": {"train": other}},
        "baselines": {name: {"family": "diffusion", "shape": DIT, "train": DIT_TRAINING} for name in ("dit", "dit2")},
        "classifiers": {name: {"model": name, "funnel": FUNNEL} for name in ("base", "other")}
        | {name: {"baseline": name, "stages": [{"draws": 1, "keep": 2}, {"draws": 2}]} for name in ("dit", "dit2")},
        "evaluate": [{"datasets": ["digits"], "classifiers": ["base", "other", "dit", "dit2"]}],
    }  # fmt: skip
    del config["ablation"]
    config["baselines"]["dit2"]["train"] = DIT_TRAINING | {"steps": 3}
    write_config(folder, config)
    for name in ("base", "other", "dit", "dit2"):
        run_missing(folder / "changed.yaml", folder, f"results/stale/predictions/{name}/digits.parquet")
    return folder


def results(project):
    return project / "results" / "stale"


def rewrite(path, change):
    """The same table with another provenance."""
    table = pq.read_table(path)
    record = json.loads(table.schema.metadata[b"varc"])
    change(record)
    pq.write_table(table.replace_schema_metadata({b"varc": json.dumps(record).encode()}), path)
    seal(path)


def refusal(project, target, changed, change):
    """The message of a job that finds a changed file; everything is as before afterwards, and up to date."""
    path = results(project) / changed
    kept = path.with_suffix(".kept")
    shutil.copy2(path, kept)
    others = {p: (p.read_bytes(), os.stat(p)) for p in results(project).rglob("*.parquet") if p != path}
    try:
        change(path)
        run = snakemake(project, f"results/stale/{target}", "--configfile", "changed.yaml", "--rerun-triggers", "mtime")
    finally:
        os.replace(kept, path)
        for other, (content, stat) in others.items():
            if not other.exists() or other.stat().st_mtime_ns != stat.st_mtime_ns:  # made from the changed file
                other.parent.mkdir(parents=True, exist_ok=True)  # snakemake takes an empty folder away too
                other.write_bytes(content)
                os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run.code != 0 and "Traceback" not in run.output, run.output
    return run.output


def test_every_file_says_what_it_is_made_from(project):
    for path in results(project).rglob("*.parquet"):
        record = json.loads(pq.read_schema(path).metadata[b"varc"])
        made_from = record["made_from"]
        assert made_from["rule"] and made_from["wildcards"] and made_from["code"] and record["version"], path
        assert made_from["rule"] in ("manifest", "prune") or made_from["params"], path
        for name in made_from["inputs"]:
            assert (project / name).is_file() and not name.endswith((".py", ".safetensors")), path
    made = json.loads(pq.read_schema(results(project) / SCORES.format("base")).metadata[b"varc"])["made_from"]
    assert set(made["inputs"]) == {
        "results/stale/tokens/base/digits/clean/0.parquet",
        "results/stale/" + CANDIDATES.format("base"),
        "results/stale/models/base/vqvae.json",
        "results/stale/models/base/var.json",
    }


@pytest.mark.parametrize(
    ("target", "file"),
    [(SCORES, CANDIDATES), ("predictions/{}/digits.parquet", SCORES), (SCORES, "models/{}/var.json")],
)
def test_a_file_of_another_model_is_refused_by_its_name(project, target, file):
    theirs = results(project) / file.format("base")
    output = refusal(project, target.format("other"), file.format("other"), lambda path: shutil.copy(theirs, path))
    assert f"results/stale/{file.format('other')}: was written as results/stale/{file.format('base')}" in output


def test_candidates_of_another_model_are_refused(project):
    output = refusal(
        project,
        SCORES.format("other"),
        CANDIDATES.format("other"),
        lambda path: rewrite(path, lambda record: record.update(var_sha256="0" * 64)),
    )
    assert "candidates/other/digits/2x1-keep3/0.parquet: var_sha256 is" in output
    assert "but that of results/stale/models/other/var.safetensors is" in output


def test_scores_of_another_rival_are_refused(project):
    stage = "scores/dit2/digits/all/draws1/0.parquet"
    target = "scores/dit2/digits/draws1-keep2/draws2/0.parquet"
    output = refusal(
        project, target, stage, lambda path: rewrite(path, lambda record: record.update(weights_sha256="0" * 64))
    )
    assert "candidates/dit2/digits/draws1-keep2/0.parquet: weights_sha256 is" in output  # pruned from them, before
    assert "but that of results/stale/baselines/dit2.safetensors is" in output


def test_a_table_refuses_predictions_of_other_scores(project):
    changed = "scores/dit/digits/draws1-keep2/draws2/0.parquet"

    def change(path):
        before = os.stat(path)
        rewrite(path, lambda record: record.update(seed=5))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    output = refusal(project, "tables/accuracy.csv", changed, change)
    assert f"predictions/dit/digits.parquet: made from results/stale/{changed} with SHA-256" in output


def test_tokens_of_another_vqvae_are_refused(project):
    output = refusal(
        project,
        "scores/base/digits/all/scales2/clean/0.parquet",
        "tokens/base/digits/clean/0.parquet",
        lambda path: rewrite(path, lambda record: record.update(vqvae_sha256="0" * 64)),
    )
    assert (
        "tokens/base/digits/clean/0.parquet: vqvae_sha256 is 000000000000, but that of results/stale/models/base"
        in output
    )


def test_scores_of_other_tokens_are_refused(project):
    def change(path):
        before = os.stat(path)
        rewrite(path, lambda record: record.update(seed=5))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # so that Snakemake sees no change

    prediction = results(project) / "predictions/base/digits.parquet"
    known = pd.read_parquet(prediction)
    prediction.unlink()
    output = refusal(project, "predictions/base/digits.parquet", "tokens/base/digits/clean/0.parquet", change)
    assert "/clean/0.parquet: made from results/stale/tokens/base/digits/clean/0.parquet with SHA-256" in output
    run = snakemake(project, "results/stale/predictions/base/digits.parquet", "--configfile", "changed.yaml")
    assert run.code == 0, run.output
    assert pd.read_parquet(prediction).equals(known)
