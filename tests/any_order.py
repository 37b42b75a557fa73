"""Reference numbers of the public order-marginalised classifier, and the random model that they belong to."""

import json
import math
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from varc.baselines.randar import build
from varc.baselines.settings.randar import Shape

DATA = Path(__file__).parent / "data"
EMBEDDINGS = ("tok_embeddings.weight", "cls_embedding.embedding_table.weight", "pos_instruct_embeddings")


@cache
def reference():
    """The arrays of randar_public.npz, and its settings under "meta"."""
    arrays = dict(np.load(DATA / "randar_public.npz"))
    return {**arrays, "meta": json.loads(str(arrays["meta"]))}


def public_keys(name):
    """Key -> shape of a public checkpoint."""
    return {key: shape for key, (shape, _) in json.loads((DATA / "randar_keys.json").read_text())[name].items()}


def random_tensor(key, shape, seed):
    """A weight as the reference drew it: by its name."""
    n = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(shape)
    if key == "quantize.codebook_used":
        n = np.zeros(shape)
    elif key.endswith("bias"):
        n = 0.1 * n
    elif "norm" in key:
        n = 1 + 0.1 * n
    elif key in EMBEDDINGS:
        n = 0.7 * n
    elif key != "quantize.embedding.weight" and len(shape) == 4:
        n = n / math.sqrt(shape[1] * shape[2] * shape[3])
    elif key != "quantize.embedding.weight" and len(shape) == 2:
        n = 2 * n / math.sqrt(shape[1])
    return torch.from_numpy(n.astype(np.float32))


def shape():
    """The reference's shape, as a config has it."""
    meta = reference()["meta"]
    return {
        "image_size": reference()["images"].shape[1],
        "depth": meta["n_layer"],
        "width": meta["dim"],
        "heads": meta["n_head"],
        "vocab_size": meta["vocab"],
        "ch_mult": meta["ch_mult"],
        "z_channels": meta["z"],
    }


def states():
    """The state dicts of the reference, by the parts vq and gpt."""
    meta = reference()["meta"]
    return {
        part: {key: random_tensor(key, tuple(size), meta["seed"]) for key, size in keys.items()}
        for part, keys in meta["keys"].items()
    }


@cache
def model():
    """The model of the reference."""
    given = shape()
    made = build(Shape(**{**given, "ch_mult": tuple(given["ch_mult"])}), reference()["meta"]["num_classes"])
    for part, state in states().items():
        getattr(made, part).load_state_dict(state)
    return made.eval().requires_grad_(False)
