import json
from dataclasses import replace

import numpy as np
import torch
from parity import DATA, models, reference

from varc.data.tensors import to_input
from varc.models.vqvae import VQVAE, VQVAEConfig

DIGITS = VQVAEConfig((1, 2, 3, 4), ch=16, ch_mult=(1, 2), num_res_blocks=1, z_channels=8, vocab_size=64, norm_groups=8)


def test_names_and_shapes_are_the_public_checkpoints():
    with torch.device("meta"):
        state = VQVAE(VQVAEConfig()).state_dict()
    found = {key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()}
    assert found == json.loads((DATA / "checkpoint_keys.json").read_text())["vae_ch160v4096z32"]


@torch.inference_mode()
def test_features_and_tokens_are_the_public_codes():
    vqvae, ref = models()[0], reference()
    f = vqvae.features(to_input(ref["images"]))
    assert np.abs(f.numpy() - ref["f"]).max() < 1e-4
    assert np.array_equal(vqvae.quantize.quantize(f).numpy(), ref["tokens"])


@torch.inference_mode()
def test_decoded_picture_is_the_public_codes():
    vqvae, ref = models()[0], reference()
    f_hat = vqvae.quantize.dequantize(torch.from_numpy(ref["tokens"].astype(np.int64)))
    picture = vqvae.decode(f_hat)
    assert picture.abs().max() <= 1
    assert np.abs(picture[:, :, ::8, ::8].numpy() - ref["recon"]).max() < 1e-4


def test_image_size_is_what_the_encoder_takes():
    for config in (DIGITS, replace(DIGITS, patch_nums=(1, 2, 4, 7))):
        f = VQVAE(config).features(torch.zeros(1, 3, config.image_size, config.image_size))
        assert f.shape == (1, 8, config.patch_nums[-1], config.patch_nums[-1])


def test_the_shape_is_read_from_a_config_entry_that_says_more():
    entry = {"patch_nums": [1, 2, 3, 4], "ch": 16, "ch_mult": [1, 2], "num_res_blocks": 1, "z_channels": 8}
    assert VQVAEConfig.of(entry | {"vocab_size": 64, "norm_groups": 8, "steps": 10, "lr": 1e-3}) == DIGITS
