"""Reference numbers of the public code, and the random models that they belong to."""

import json
import math
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig

DATA = Path(__file__).parent / "data"


@cache
def reference():
    """The arrays of public_256.npz, and its settings under "meta"."""
    arrays = dict(np.load(DATA / "public_256.npz"))
    return {**arrays, "meta": json.loads(str(arrays["meta"]))}


def random_tensor(key, shape, seed):
    """A weight as the reference drew it: by its name."""
    n = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(shape)
    if key.endswith("scale_mul_1H11"):
        n = math.log(4) + 0.1 * n
    elif key.endswith(("q_bias", "v_bias", ".bias")):
        n = 0.1 * n
    elif ".norm" in key or key.startswith("norm"):
        n = 1 + 0.1 * n
    elif "ada_lin" in key:
        n = 0.5 * n / math.sqrt(shape[-1])
    elif key.endswith("ada_gss"):
        n = 0.3 * n
    elif key in ("class_emb.weight", "lvl_embed.weight", "pos_1LC", "pos_start"):
        n = 0.7 * n
    elif key == "quantize.embedding.weight":
        n = 0.6 * n
    elif len(shape) == 4:
        n = n / math.sqrt(shape[1] * shape[2] * shape[3])
    elif len(shape) == 2:
        n = n / math.sqrt(shape[1])
    return torch.from_numpy(n.astype(np.float32))


def fill(model, seed):
    """Gives every parameter its random weights; buffers stay as they are built."""
    state = {key: random_tensor(key, tuple(p.shape), seed) for key, p in model.named_parameters()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) == {key for key, _ in model.named_buffers()}
    return model.eval()


@cache
def models():
    """The VQ-VAE and the VAR of the reference."""
    meta = reference()["meta"]
    vqvae = VQVAEConfig(patch_nums=tuple(meta["patch_nums"]), ch=meta["ch"], vocab_size=meta["V"])
    var = VARConfig(
        depth=meta["depth"],
        width=64 * meta["depth"],
        heads=meta["depth"],
        num_classes=meta["num_classes"],
        vocab_size=meta["V"],
        z_channels=32,
        patch_nums=vqvae.patch_nums,
    )
    with torch.inference_mode(False):  # the cached models serve tests of training too, whichever test asks first
        return fill(VQVAE(vqvae), meta["seed"]), fill(VAR(var), meta["seed"])
