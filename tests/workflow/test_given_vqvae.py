"""A VAR that is trained here on the tokens of a given VQ-VAE."""

import copy
import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch
from configs import DIGITS, begun, read
from job_graph import jobs, rerun, run_missing
from safetensors.torch import load_file, save_file

from varc.files import file_sha256
from varc.seal import read_json
from workflow.config.entry import ConfigError
from workflow.config.lineage import ancestry, architecture, image_size, patch_nums, vqvae_owner
from workflow.run import Run
from workflow.sources import unfit_sources

FILE = "weights/vae.v1.safetensors"
GIVEN = {"vqvae": FILE, "patch_nums": [1, 2, 3, 4], "norm_groups": 8}
VAR = {"depth": 1, "width": 32, "heads": 2, "steps": 3, "batch_size": 32, "lr": 0.003, "samples": 2, "sigma": 0.5}
VQVAE = DIGITS["models"]["base"]["train"]["vqvae"]
STEPS = {"steps": 1, "batch_size": 1, "lr": 0.1}


def config(models, run="given", funnel=({"scales": 4, "keep": 1},)):
    """The digits, in two shards, classified by a model `own`."""
    data = {name: DIGITS["datasets"][name] | {"per_class": 9} for name in ("digits", "digits_train")}
    classifiers = {"varc": {"model": "own", "sigma": 0.5, "funnel": list(funnel)}}
    evaluate = [{"datasets": ["digits"], "classifiers": ["varc"]}]
    return copy.deepcopy(
        {"run": run, "shards": 2, "datasets": data, "models": models, "classifiers": classifiers, "evaluate": evaluate}
    )


def own(vqvae, **var):
    return {"train": {"data": "digits_train", "vqvae": vqvae, "var": VAR | var}}


def on_given(given=GIVEN, **var):
    return config({"own": own("given", **var), "given": given})


def change(settings, *path, to):
    """The config with another entry at a path."""
    settings, last = copy.deepcopy(settings), path[-1]
    inner = settings
    for key in path[:-1]:
        inner = inner[key]
    inner[last] = to
    return settings


SPREAD = {"spread": 0.1}
TUNED = {"finetune": "given", "cross_entropy": {"data": "digits_train", **STEPS}}
GRID = {"datasets": ["digits"], "models": ["given"], "sigmas": [0.1], "samples": [2]}
MAPS = {"datasets": ["digits"], "models": ["given"], "methods": ["tmi"], "target": 1, "against": "unconditional"}
REFUSED = {
    "a VQ-VAE alone that classifies": (
        change(on_given(), "classifiers", "varc", "model", to="given"),
        "classifiers: varc: model: model given has a VQ-VAE alone; give its entry in models the key var",
    ),
    "one that is fine-tuned": (
        change(on_given(), "models", "aa", to=TUNED), "models: aa: finetune: model given has a VQ-VAE alone"
    ),
    "one that is smoothed": (change(on_given(), "smoothing", to=[GRID]), "smoothing: 0: models: model given has a VQ"),
    "one that explains": (change(on_given(), "explain", to=[MAPS]), "explain: 0: models: model given has a VQ-VAE"),
    "itself": (change(on_given(), "models", "own", to=own("own")), "model own trains no VQ-VAE of its own; name one"),
    "a cycle": (
        config({"own": own("next"), "next": own("own")}), "models: next: train: vqvae: model own trains no VQ-VAE of"
    ),
    "a fine-tuned model": (
        config({"aa": {"finetune": "own", "cross_entropy": STEPS}, "own": own("aa")}),
        "models: own: train: vqvae: model aa trains no VQ-VAE of its own; name one that does, or one of given weights",
    ),
    "an unknown name": (
        config({"aa": {"finetune": "own", "cross_entropy": STEPS}, "own": own("givn"), "given": GIVEN}),
        "models: own: train: vqvae: 'givn' is not defined; defined are aa, given, own; did you mean given[?]",
    ),
    "the spread of its training": (
        on_given(sigma=SPREAD), "models: own: train: var: sigma: spread is known for models trained here only, by their"
    ),
    "the spread of its classifier": (
        change(on_given(), "classifiers", "varc", "sigma", to=SPREAD), "classifiers: varc: sigma: spread is known for"
    ),
    "images of another size": (
        on_given({"vqvae": FILE, "architecture": "var_d16"}),
        "models: own: train: data set digits_train has size 8, but the model takes 256",
    ),
    "a digest of no file": (
        on_given(GIVEN | {"sha256": {"var": "0" * 64}}), "models: given: sha256: var is that of no file; add var"
    ),
    "a download without a digest": (
        on_given(GIVEN | {"hub": {"repo": "a/b", "revision": "0" * 40}}), "hub needs sha256: {vqvae: ...}, so that"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused(name):
    settings, words = REFUSED[name]
    settings["datasets"]["digits_train"]["size"] = 8
    with pytest.raises(ConfigError, match=words):
        read(settings)


def test_its_shape_is_the_given_ones_beside_its_own():
    settings = {"vqvae": FILE, "architecture": "var_d16"}
    found = read(on_given(settings)).models
    assert vqvae_owner(found, "own") == "given" and ancestry(found, "own") == ["own", "given"]
    shape = architecture(found, "own")
    assert shape["vqvae"] == architecture(found, "given")["vqvae"] and shape["vqvae"]["ch"] == 160
    assert shape["var"] == {"depth": 1, "width": 32, "heads": 2}
    assert image_size(found, "own") == 256 and len(patch_nums(found, "own")) == 10
    found = read(on_given()).models
    assert architecture(found, "own") is None and image_size(found, "own") is None  # its tensors tell
    assert patch_nums(found, "own") == [1, 2, 3, 4]


def test_scores_depend_on_the_given_vqvae_and_not_on_a_var_beside_it():
    def recipe(digests, **var):
        return Run(read(on_given(GIVEN | var)), 1, digests.get).recipe("own", "digits")

    alone = recipe({FILE: "a" * 64})
    assert recipe({FILE: "b" * 64}) != alone
    assert recipe({FILE: "a" * 64, "var.pth": "c" * 64}, var="var.pth") == alone


def test_only_the_files_that_are_read_must_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = begun(on_given(GIVEN | {"var": "var.pth"})).run
    params = [{"vqvae_checkpoint": run.checkpoints.checkpoint("own", "vqvae")}]
    assert unfit_sources(run, [], params) == (
        f"models: given: vqvae: {FILE}: no such file; put the checkpoint there, or set hub"
    )
    put(tmp_path, b"weights")
    run = begun(on_given(GIVEN | {"var": "var.pth"})).run
    params = [{"vqvae_checkpoint": run.checkpoints.checkpoint("own", "vqvae")}]
    assert unfit_sources(run, [], params) is None


def test_the_table_of_families_knows_nothing_of_a_given_vqvaes_training():
    settings = on_given()
    settings["models"] |= {"base": own(VQVAE), "sharing": own("base")}
    settings["models"]["tuned"] = {"finetune": "sharing", "cross_entropy": STEPS}
    for name in ("sharing", "tuned"):
        settings["classifiers"][name] = {"model": name, "funnel": [{"scales": 4, "keep": 1}]}
        settings["evaluate"][0]["classifiers"].append(name)
    rows = {row["classifier"]: row for row in begun(settings).tables.main_rows()}
    assert rows["varc"]["cards"] == rows["varc"]["before"] == []
    folder = "results/given/models"
    assert rows["tuned"]["cards"] == [f"{folder}/tuned/var.json", f"{folder}/base/vqvae.json"]
    assert rows["tuned"]["before"] == [f"{folder}/sharing/var.json"]  # and not the VAR of base
    assert rows["sharing"]["before"] == []


def put(folder, content):
    """A file in the place of the given VQ-VAE."""
    (folder / FILE).parent.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(content)


def test_jobs_are_planned_without_the_file_and_another_file_makes_tokens_and_var_anew(tmp_path):
    absent = jobs(tmp_path, on_given())
    rules = [job.rule for job in absent]
    assert {rule: rules.count(rule) for rule in ("train_vqvae", "train_var", "encode", "tokenize")} == {
        "train_vqvae": 0, "train_var": 1, "encode": 4, "tokenize": 6
    }  # fmt: skip
    assert any("/tokens/vae_v1-absent/" in name for job in absent for name in job.outputs)
    put(tmp_path, b"one")
    present = jobs(tmp_path, on_given())
    put(tmp_path, b"another")
    after = rerun(present, jobs(tmp_path, on_given()))
    assert after["train_var"] == 1 and after["encode"] == 4 and after["tokenize"] == 6 and after["score"] == 2
    put(tmp_path, b"one")
    assert not rerun(present, jobs(tmp_path, on_given()))


def test_plans_take_the_shape_from_the_name_or_else_from_the_file():
    named = begun(on_given({"vqvae": FILE, "architecture": "var_d16"})).plan
    shape = named.shapes()["own"]
    assert (shape.z_channels, shape.vocab_size, shape.depth, shape.width) == (32, 4096, 1, 32)
    assert named.inputs()["checkpoints"] == []
    plan = begun(on_given(GIVEN)).plan
    assert plan.shapes() == {"own": None}
    told = plan.run.checkpoints.shapes(["own"])["own"]
    assert told == {
        "files": {"vqvae": FILE}, "patch_nums": [1, 2, 3, 4], "norm_groups": 8,
        "var": {"depth": 1, "width": 32, "heads": 2},
    }  # fmt: skip


FUNNEL = ({"scales": 2, "keep": 4}, {"scales": 4, "samples": 2, "keep": 1})
TARGETS = [
    "predictions/varc/digits.parquet",
    "tables/gflops.csv",
    "tables/plan.csv",
    "models/cca/samples.png",
    "incremental/plus/digits/2/var_embeddings/0.parquet",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that trains both models, and one that trains the VAR alone, on a copy of that VQ-VAE."""
    folder = tmp_path_factory.mktemp("given")
    make(folder, "both", {"own": own(VQVAE | {"steps": 20})})
    put(folder, (folder / "results/both/models/own/vqvae.safetensors").read_bytes())
    make(folder, "given", {"own": own("given"), "given": GIVEN})
    return folder


def make(folder, run, models):
    """The targets of a run whose model is also fine-tuned, and learns task by task."""
    cca = {"beta": 0.1, "lambda": 1, "steps": 2, "batch_size": 8, "lr": 0.001}
    settings = config(models | {"cca": {"finetune": "own", "cca": cca}}, run, FUNNEL) | {"gflops_per_second": 100}
    settings["classifiers"]["plus"] = {"model": "cca", "funnel": [{"scales": 4, "keep": 1}]}
    settings["evaluate"][0]["classifiers"].append("plus")
    tasks = {"tasks": [2], "seeds": 1, "strategies": ["var_embeddings"]}
    settings["incremental"] = [{"classifier": "plus", "data": "digits_train", "test": "digits", **tasks}]
    (folder / f"{run}.json").write_text(json.dumps(settings))
    for target in TARGETS:
        run_missing(folder / f"{run}.json", folder, f"results/{run}/{target}")


@pytest.mark.parametrize("model", ["own", "cca"])
def test_a_var_on_a_given_vqvae_is_the_var_of_the_run_that_trained_both(folder, model):
    one, other = (load_file(folder / f"results/{run}/models/{model}/var.safetensors") for run in ("both", "given"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    made = folder / "results/given/models"
    assert read_json(made / f"{model}/var.json")["vqvae_sha256"] == file_sha256(folder / FILE)
    assert not list(made.rglob("vqvae.*"))


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_made_with_them_is_equal(folder, target):
    one, other = (folder / "results" / run / target for run in ("both", "given"))
    if target.endswith(".parquet"):
        assert pq.read_table(one).equals(pq.read_table(other))
    else:
        assert one.read_bytes() == other.read_bytes()


def test_tokens_lie_under_the_name_and_digest_of_the_file(folder):
    name = f"vae_v1-{file_sha256(folder / FILE)[:8]}"
    assert [path.name for path in (folder / "results/given/tokens").iterdir()] == [name]
    one, other = (
        pq.read_table(folder / f"results/{run}/tokens/{vqvae}/digits_train/sigma0.5-1/1.parquet")
        for run, vqvae in (("both", "own"), ("given", name))
    )
    assert one.equals(other)


def test_the_files_levels_tell_how_large_its_images_are(folder, monkeypatch):
    monkeypatch.chdir(folder)
    run = begun(on_given()).run
    assert run.checkpoints.side(run.checkpoints.vqvae_of("own")) == 8
    (folder / "absent").mkdir()
    monkeypatch.chdir(folder / "absent")
    run = begun(on_given()).run
    assert run.checkpoints.side(run.checkpoints.vqvae_of("own")) == 64  # as if it were the public one


def test_another_vqvae_behind_the_name_gives_other_tokens_and_another_var(folder, tmp_path):
    shutil.copytree(folder / "weights", tmp_path / "weights")
    tensors = load_file(tmp_path / FILE)
    tensors["quantize.embedding.weight"] = tensors["quantize.embedding.weight"].flip(0)
    save_file(tensors, tmp_path / FILE)
    (tmp_path / "results").mkdir()
    shutil.copytree(folder / "results/given", tmp_path / "results/given")
    own_var, before = (path / "results/given/models/own/var.safetensors" for path in (tmp_path, folder))
    own_var.unlink()
    shutil.copy(folder / "given.json", tmp_path)
    run_missing(tmp_path / "given.json", tmp_path, str(own_var.relative_to(tmp_path)))
    assert len(list((tmp_path / "results/given/tokens").iterdir())) == 2
    one, other = load_file(before), load_file(own_var)
    assert not all(torch.equal(one[key], other[key]) for key in one)
    assert read_json(own_var.with_suffix(".json"))["vqvae_sha256"] == file_sha256(tmp_path / FILE)
