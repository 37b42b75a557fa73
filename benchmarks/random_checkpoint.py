"""Writes checkpoints of a public shape with random weights: python benchmarks/random_checkpoint.py var_d16 FOLDER.

For measurements where the public weights cannot be had: vae.pth and var.pth have the keys, shapes and dtypes of the
public ones, and scores that mean nothing.
"""

import sys
from pathlib import Path

import torch

from varc.models.architectures import ARCHITECTURES
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig


def randomised(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A state dict with activations of a sane size; norms and buffers stay as they are built."""
    generator = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        if p.ndim >= 2 and "norm" not in name:
            p.data = torch.randn(p.shape, generator=generator) / max(1, p[0].numel()) ** 0.5
    return model.state_dict()


def main(name: str, folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    shape = ARCHITECTURES[name]
    vqvae = VQVAEConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in shape["vqvae"].items()})
    var = VARConfig(
        num_classes=1000,
        vocab_size=vqvae.vocab_size,
        z_channels=vqvae.z_channels,
        patch_nums=vqvae.patch_nums,
        **shape["var"],
    )
    torch.save(randomised(VQVAE(vqvae)), Path(folder) / "vae.pth")
    torch.save({"trainer": {"var_wo_ddp": randomised(VAR(var))}}, Path(folder) / "var.pth")


if __name__ == "__main__":
    main(*sys.argv[1:])
