"""A VAR with a seed of its own."""

import copy
import json

import torch
from configs import DIGITS
from job_graph import run_missing
from safetensors.torch import load_file

from varc.seal import read_json


def test_vars_of_one_vqvae_have_seeds_of_their_own(tmp_path):
    config = copy.deepcopy(DIGITS)
    train = config["models"]["base"]["train"]
    train["vqvae"] |= {"steps": 3}
    train["var"] |= {"steps": 3, "samples": 1}
    train["var"].pop("sigma", None)
    models = {"base": config["models"]["base"]}
    for name, seed in (("same", 0), ("other", 1)):
        models[name] = {"train": train | {"vqvae": "base", "var": train["var"] | {"seed": seed}}}
    classifiers = {name: {"model": name, "funnel": [{"scales": 1, "keep": 1}]} for name in models}
    config |= {"models": models, "classifiers": classifiers, "evaluate": []}
    config["evaluate"] = [{"datasets": ["digits"], "classifiers": list(classifiers)}]
    for key in ("ablation", "smoothing", "explain", "shifts"):
        config.pop(key, None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in models:
        run_missing(tmp_path / "config.json", tmp_path, f"results/digits/models/{name}/var.safetensors")
    base, same, other = (load_file(tmp_path / f"results/digits/models/{name}/var.safetensors") for name in models)
    assert all(torch.equal(base[key], same[key]) for key in base)
    assert any(not torch.equal(base[key], other[key]) for key in base)
    assert read_json(tmp_path / "results/digits/models/other/var.json")["settings"]["seed"] == 1
