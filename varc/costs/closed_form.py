"""Costs of a model by closed formulas, from its shape alone: no torch, so that a pipeline can plan with them.

GFLOPs are in fvcore's convention; varc.costs.models counts the same on the modules, and tests hold the two together.
The functions take any shape with the fields of Shape: also a VARConfig or a VQVAEConfig, as far as they need no more.
"""

from typing import Any, NamedTuple

from varc.models.architectures import Architecture
from varc.models.scales import tokens_at


class Shape(NamedTuple):
    """The shape of a model: of its VQ-VAE, then of its VAR. See VQVAEConfig and VARConfig."""

    patch_nums: tuple[int, ...]
    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    z_channels: int
    vocab_size: int
    depth: int
    width: int
    heads: int
    shared_adaln: bool = False

    @classmethod
    def of(cls, architecture: Architecture) -> "Shape":
        """The shape of an entry of varc.models.architectures, or of the same keys in a config."""
        known = architecture["vqvae"] | architecture["var"]
        lists = {key: tuple(known[key]) for key in ("patch_nums", "ch_mult")}
        return cls(**{key: value for key, value in (known | lists).items() if key in cls._fields})


def image_size(vqvae: Any) -> int:
    """Pixels per side of a VQ-VAE's images: a level but the last halves the resolution."""
    return vqvae.patch_nums[-1] * 2 ** (len(vqvae.ch_mult) - 1)


def pass_gflops(var: Any, scales: int) -> float:
    """GFLOPs of a forward pass of one class over the first scales.

    Per token the linear layers (12 C^2 a block, V C for the head) and 4 per number of each LayerNorm; adaLN once.
    """
    L, first = tokens_at(var.patch_nums, scales), var.patch_nums[0] ** 2
    C, V, d = var.width, var.vocab_size, var.depth
    per_token = d * (12 * C * C + 2 * 4 * C) + 4 * C + V * C
    return (L * per_token + (L - first) * var.z_channels * C + adaln_weights(var)) / 1e9


def adaln_weights(var: Any) -> int:
    """Weights of all adaLN layers, without biases."""
    return ((1 if var.shared_adaln else var.depth) * 6 + 2) * var.width**2


def var_parameters(var: Any, classes: int) -> int:
    """Weights of a VAR of so many classes, without its biases and scales, which are fewer than 1 in 1,000."""
    C, L = var.width, tokens_at(var.patch_nums, len(var.patch_nums))
    return var.depth * 12 * C * C + adaln_weights(var) + (var.vocab_size + var.z_channels + L + classes + 1) * C


def encoder_gflops(vqvae: Any) -> float:
    """GFLOPs of the features of one image: convolutions, GroupNorm at 5 per number, and attention's two products."""
    side, channels = image_size(vqvae), vqvae.ch
    total = side**2 * 9 * 3 * channels
    for i, mult in enumerate(vqvae.ch_mult):
        last = i == len(vqvae.ch_mult) - 1
        for _ in range(vqvae.num_res_blocks):
            total += resnet_block(side, channels, vqvae.ch * mult)
            channels = vqvae.ch * mult
            total += attention_block(side, channels) if last else 0
        if not last:
            side //= 2
            total += side**2 * 9 * channels**2
    total += 2 * resnet_block(side, channels, channels) + attention_block(side, channels)
    total += side**2 * (5 * channels + 9 * channels * vqvae.z_channels + 9 * vqvae.z_channels**2)
    return total / 1e9


def resnet_block(side: int, before: int, after: int) -> int:
    """FLOPs of a residual block at side x side positions."""
    shortcut = before * after if before != after else 0
    return side**2 * (5 * before + 9 * before * after + 5 * after + 9 * after**2 + shortcut)


def attention_block(side: int, channels: int) -> int:
    """FLOPs of the encoder's attention over side x side positions."""
    return side**2 * (5 * channels + 4 * channels**2) + 2 * side**4 * channels


def quantizer_gflops(vqvae: Any) -> float:
    """GFLOPs of quantising one image's features: the search for the nearest codes, and each scale's convolution.

    For plans only: the published figures, and tables/gflops.csv, leave it out.
    """
    side, Z = vqvae.patch_nums[-1], vqvae.z_channels
    search = tokens_at(vqvae.patch_nums, len(vqvae.patch_nums)) * vqvae.vocab_size * Z
    return (search + len(vqvae.patch_nums) * side**2 * 9 * Z**2) / 1e9
