"""Writes checkpoints of a public shape with random weights: python benchmarks/random_checkpoint.py var_d16 FOLDER.

For measurements where the public weights cannot be had: vae.pth and var.pth have the keys, shapes and dtypes of the
public ones, and scores that mean nothing.
"""

import sys
from pathlib import Path

import torch
from random_models import public_shape, random_var, random_vqvae


def main(name: str, folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    vqvae, var = public_shape(name)
    torch.save(random_vqvae(vqvae).state_dict(), Path(folder) / "vae.pth")
    torch.save({"trainer": {"var_wo_ddp": random_var(var).state_dict()}}, Path(folder) / "var.pth")


if __name__ == "__main__":
    main(*sys.argv[1:])
