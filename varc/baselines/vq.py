"""The single-scale VQ tokeniser of LlamaGen (Sun et al. 2024, arXiv 2406.06525), as RandAR uses it: state dicts are
named as in the public vq_ds16_c2i.pt.

The encoder is VQGAN's (Esser et al. 2021). Features and codes are compared on the unit sphere. N images, V codes of d
numbers, (g, g) the grid of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varc.costs.closed_form import encoder_gflops
from varc.models.convolutions import Downsample, ResnetBlock, Upsample, group_norm

GROUPS = 32  # of every GroupNorm
RES_BLOCKS = 2  # of a level of the encoder; one more in the decoder
CODES_USED = 65536  # length of a buffer of the public file, which nothing reads


@dataclass(frozen=True)
class VQConfig:
    """The shape of a tokeniser. ch: channels at full resolution, times ch_mult in each level; each level but the last
    halves the resolution. z_channels: of the encoder's output; code_channels: of a code."""

    ch: int = 128
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    z_channels: int = 256
    vocab_size: int = 16384
    code_channels: int = 8

    @property
    def downsampling(self) -> int:
        """Image pixels per side of a token."""
        return 2 ** (len(self.ch_mult) - 1)


class Attention(nn.Module):
    """Single-head self-attention over positions, as plain products, which fvcore counts."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = group_norm(channels, GROUPS)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2) for layer in (self.q, self.k, self.v))  # each (B, C, HW)
        weights = torch.bmm(q.transpose(1, 2), k).mul(x.shape[1] ** -0.5).softmax(2)  # (B, HW queries, HW keys)
        return x + self.proj_out(torch.bmm(v, weights.transpose(1, 2)).view_as(x))


class Level(nn.Module):
    """Residual blocks through `channels` at one resolution, each followed by attention, if any."""

    def __init__(self, channels: Sequence[int], attention: bool):
        super().__init__()
        self.res = nn.ModuleList(ResnetBlock(a, b, GROUPS) for a, b in pairwise(channels))
        self.attn = nn.ModuleList(Attention(c) for c in channels[1:] if attention)

    def forward(self, h: Tensor) -> Tensor:
        for i, block in enumerate(self.res):
            h = block(h)
            if len(self.attn):
                h = self.attn[i](h)
        return h


def middle(channels: int) -> nn.Sequential:
    """Residual block, attention, residual block, at the lowest resolution."""
    return nn.Sequential(
        ResnetBlock(channels, channels, GROUPS), Attention(channels), ResnetBlock(channels, channels, GROUPS)
    )


class Encoder(nn.Module):
    """Images (B, 3, H, W) to (B, z_channels, g, g)."""

    def __init__(self, config: VQConfig):
        super().__init__()
        widths = [config.ch * mult for mult in config.ch_mult]
        self.conv_in = nn.Conv2d(3, config.ch, 3, padding=1)
        self.conv_blocks = nn.ModuleList()
        for i, (before, width) in enumerate(pairwise([config.ch, *widths])):
            last = i == len(widths) - 1
            level = Level([before] + [width] * RES_BLOCKS, attention=last)
            if not last:
                level.downsample = Downsample(width)
            self.conv_blocks.append(level)
        self.mid = middle(widths[-1])
        self.norm_out = group_norm(widths[-1], GROUPS)
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.conv_blocks:
            h = level(h)
            if hasattr(level, "downsample"):
                h = level.downsample(h)  # type: ignore[operator]
        return self.conv_out(F.silu(self.norm_out(self.mid(h))))


class Decoder(nn.Module):
    """The mirror of Encoder, with one residual block more a level; its levels are numbered from the coarsest."""

    def __init__(self, config: VQConfig):
        super().__init__()
        widths = [config.ch * mult for mult in reversed(config.ch_mult)]
        self.conv_in = nn.Conv2d(config.z_channels, widths[0], 3, padding=1)
        self.mid = middle(widths[0])
        self.conv_blocks = nn.ModuleList()
        for i, (before, width) in enumerate(pairwise([widths[0], *widths])):
            level = Level([before] + [width] * (RES_BLOCKS + 1), attention=i == 0)
            if i < len(widths) - 1:
                level.upsample = Upsample(width)
            self.conv_blocks.append(level)
        self.norm_out = group_norm(widths[-1], GROUPS)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in self.conv_blocks:
            h = level(h)
            if hasattr(level, "upsample"):
                h = level.upsample(h)  # type: ignore[operator]
        return self.conv_out(F.silu(self.norm_out(h)))


class Quantizer(nn.Module):
    """The codes: `embedding` (V, d), which count by their directions alone."""

    def __init__(self, config: VQConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.code_channels)
        self.codebook_used = nn.Buffer(torch.zeros(CODES_USED))

    def codes(self) -> Tensor:
        """The codes (V, d), each of length 1."""
        return F.normalize(self.embedding.weight, dim=-1)

    def nearest(self, features: Tensor) -> Tensor:
        """The index of the nearest code of each feature (..., d), both of length 1: int64 (...)."""
        return (F.normalize(features, dim=-1) @ self.codes().T).argmax(-1)  # |a - b|^2 = 2 - 2 a b


class VQ(nn.Module):
    """Encoder, codes and decoder. Images are float32 in [-1, 1], (B, 3, H, W)."""

    def __init__(self, config: VQConfig):
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Quantizer(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.code_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.code_channels, config.z_channels, 1)

    def features(self, images: Tensor) -> Tensor:
        """quant_conv(encoder(images)): (B, d, g, g)."""
        return self.quant_conv(self.encoder(images))

    def tokens(self, images: Tensor) -> Tensor:
        """The tokens of images in raster order: int64 (B, g^2)."""
        return self.quantize.nearest(self.features(images).flatten(2).transpose(1, 2))

    def decode(self, codes: Tensor) -> Tensor:
        """The picture (B, 3, H, W) of codes (B, d, g, g)."""
        return self.decoder(self.post_quant_conv(codes))


def features_gflops(config: VQConfig, image_size: int) -> float:
    """GFLOPs of the features of an image, in fvcore's convention: the public model's at 256 px take 69.439."""
    side, z = image_size // config.downsampling, config.z_channels
    sizes = {"ch": config.ch, "ch_mult": config.ch_mult, "z_channels": z, "num_res_blocks": RES_BLOCKS}
    vqgan = encoder_gflops(SimpleNamespace(patch_nums=(side,), **sizes))
    return vqgan + side**2 * (z * config.code_channels - 9 * z * z) / 1e9  # a quant_conv of 1x1 for one of 3x3
