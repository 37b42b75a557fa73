"""Models of any shape with random weights: their speed and memory are those of trained ones, their scores mean nothing.

Needs torch and NumPy alone.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from varc.models.architectures import ARCHITECTURES
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig

M = TypeVar("M", bound=nn.Module)


def public_shape(name: str, classes: int = 1000) -> tuple[VQVAEConfig, VARConfig]:
    """The shapes of a public VQ-VAE and VAR by name, e.g. "var_d16"."""
    shape = ARCHITECTURES[name]
    vqvae = VQVAEConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in shape["vqvae"].items()})
    return vqvae, var_shape(vqvae, classes=classes, **shape["var"])


def var_shape(vqvae: VQVAEConfig, *, classes: int, depth: int, width: int, heads: int, **others: bool) -> VARConfig:
    """The shape of a VAR over a VQ-VAE's tokens."""
    return VARConfig(depth, width, heads, classes, vqvae.vocab_size, vqvae.z_channels, vqvae.patch_nums, **others)


def random_model(build: Callable[[], M], device: torch.device | str = "cpu") -> M:
    """A model in evaluation, the same each time on a device; made there, as 2 billion weights take minutes on a CPU.

    Weights give activations of a sane size; norms and buffers stay as they are built.
    """
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        model = build()
        for name, p in model.named_parameters():
            if p.ndim >= 2 and "norm" not in name:
                p.data = torch.randn(p.shape) / max(1, p[0].numel()) ** 0.5
    return model.eval().requires_grad_(False)


def random_var(config: VARConfig, device: torch.device | str = "cpu") -> VAR:
    """A VAR."""
    return random_model(lambda: VAR(config), device)


def random_quantizer(config: VQVAEConfig) -> MultiScaleQuantizer:
    """A quantiser, with standard normal codes."""
    quantizer = random_model(lambda: MultiScaleQuantizer(config.vocab_size, config.z_channels, config.patch_nums))
    quantizer.embedding.weight.data *= config.z_channels**0.5
    return quantizer


def random_vqvae(config: VQVAEConfig) -> VQVAE:
    """A VQ-VAE, with standard normal codes."""
    vqvae = random_model(lambda: VQVAE(config))
    vqvae.quantize = random_quantizer(config)
    return vqvae
