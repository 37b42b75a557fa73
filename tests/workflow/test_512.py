"""Checkpoints of d36's schedule, 2,240 positions at 512 px, whose `architecture` the config does not name."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from forward import log_prob_per_token
from job_graph import run_missing
from parity import fill
from PIL import Image
from safetensors.torch import save_file

from varc.data.tensors import to_input
from varc.models.architectures import PATCH_NUMS_512
from varc.models.headers import downsampling, positions
from varc.models.public import load_public_var
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig

CLASSES = 3


@pytest.fixture(scope="module")
def models():
    """Small models with the public keys: shared adaLN, as d36 has it."""
    vqvae = VQVAEConfig(PATCH_NUMS_512, ch=32, ch_mult=(1, 1, 1, 1, 1), num_res_blocks=1, z_channels=8, vocab_size=64)
    var = VARConfig(2, 32, 2, CLASSES, 64, 8, PATCH_NUMS_512, shared_adaln=True)
    return fill(VQVAE(vqvae), 0), fill(VAR(var), 0)


def pth(state, path):
    torch.save(state, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def nested(state, path):
    torch.save({"args": {"lr": 1e-4}, "trainer": {"iter": 3, "var_wo_ddp": state}}, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def safetensors(state, path):
    save_file(state, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


@pytest.mark.parametrize("write", [pth, nested, safetensors])
def test_positions_are_told_by_the_header(models, tmp_path, write):
    path = write(models[1].state_dict(), tmp_path / "var")
    assert positions(path) == 2240
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    assert positions(path) in (None, 2240)  # a safetensors header may be whole
    assert positions(tmp_path / "absent.pth") is None
    path.write_bytes(b"")
    assert positions(path) is None


@pytest.mark.parametrize("write", [pth, nested, safetensors])
@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_positions_are_told_under_the_names_that_wrappers_write(models, tmp_path, write, wrapper):
    """As read_state takes such a file."""
    path = write({f"{wrapper}{name}": tensor for name, tensor in models[1].state_dict().items()}, tmp_path / "var")
    assert positions(path) == load_public_var(path)[0].config.num_tokens == 2240


@pytest.mark.parametrize("write", [pth, nested, safetensors])
def test_a_vqvaes_levels_are_told_by_the_header(models, tmp_path, write):
    named = {f"_orig_mod.{name}": tensor for name, tensor in models[0].state_dict().items()}
    for state in (models[0].state_dict(), named):
        assert downsampling(write(state, tmp_path / "vae")) == models[0].config.downsampling == 16
    assert downsampling(write(models[1].state_dict(), tmp_path / "var")) is None
    assert downsampling(tmp_path / "absent.pth") is None


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def test_a_header_that_would_run_code_runs_none(tmp_path):
    marker, path = tmp_path / "was_run", tmp_path / "var.pth"
    torch.save({"first": Malicious(str(marker)), "pos_1LC": torch.zeros(1, 5, 2)}, path)
    assert positions(path) == 5 and not marker.exists()


@torch.inference_mode()
def test_scores_at_512_pixels_are_those_of_a_plain_forward(models, tmp_path):
    vqvae, var = models
    pth(vqvae.state_dict(), tmp_path / "vae")
    nested(var.state_dict(), tmp_path / "var")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 512, 512, 3), np.uint8)
    for i, picture in enumerate(pixels):
        (tmp_path / "pictures" / f"n{i}").mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "pictures" / f"n{i}" / "0.png")
    rows = [f"n{i},{i},class {i}" for i in range(CLASSES)]
    (tmp_path / "classes.csv").write_text("\n".join(["folder,class_id,name", *rows]))
    images = {"reader": "image_folder", "root": "pictures", "classes": "classes.csv", "size": 512, "resize": 512}
    config = {
        "run": "large",
        "datasets": {"pictures": images},
        "models": {"small": {"vqvae": "vae.pth", "var": "var.pth"}},
        "classifiers": {"varc": {"model": "small", "funnel": [{"scales": 10, "keep": 1}]}},
        "evaluate": [{"datasets": ["pictures"], "classifiers": ["varc"]}],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    run_missing(tmp_path / "config.json", tmp_path, "results/large/predictions/varc/pictures.parquet")

    tokens = vqvae.quantize.quantize(vqvae.features(to_input(pixels)))
    (file,) = (tmp_path / "results/large/tokens").rglob("*.parquet")
    assert (np.stack(pd.read_parquet(file)["tokens"]) == tokens.numpy()).all() and tokens.shape == (2, 2240)
    expected = np.stack(
        [
            log_prob_per_token(var, vqvae.quantize.teacher_input(tokens), tokens, torch.tensor([y, y])).double().sum(1)
            for y in range(CLASSES)
        ],
        axis=1,
    )
    (file,) = (tmp_path / "results/large/scores").rglob("*.parquet")
    found = pd.read_parquet(file)["log_likelihood"].to_numpy().reshape(2, CLASSES)
    assert np.abs(found - expected).max() < 1e-2
    predictions = pd.read_parquet(tmp_path / "results/large/predictions/varc/pictures.parquet")
    assert predictions["prediction"].tolist() == expected.argmax(1).tolist()
