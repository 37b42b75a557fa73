"""The multi-scale residual VQ-VAE of VAR, with state dicts named as the public checkpoints' are.

Architecture: Tian et al., "Visual Autoregressive Modeling", NeurIPS 2024; the encoder and decoder are those of VQGAN
(Esser et al. 2021) with attention at the lowest resolution only. Its quantiser is in varc/models/quantizer.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varc.models.convolutions import Downsample, ResnetBlock, Upsample, group_norm
from varc.models.quantizer import MultiScaleQuantizer


@dataclass(frozen=True)
class VQVAEConfig:
    """The shape of a VQ-VAE. The defaults are those of the public vae_ch160v4096z32 at 256 px."""

    patch_nums: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    ch: int = 160
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = 2
    z_channels: int = 32
    vocab_size: int = 4096
    norm_groups: int = 32

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "VQVAEConfig":
        """The shape in a config's `vqvae:` entry, which names all of it and may say more; lists become tuples."""
        known = {field.name: settings[field.name] for field in fields(cls)}
        shape: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}
        return cls(**shape)

    @property
    def downsampling(self) -> int:
        """Image pixels per side of one feature: a level but the last halves the resolution."""
        return 2 ** (len(self.ch_mult) - 1)

    @property
    def image_size(self) -> int:
        """Pixels per side of the images whose features are as large as the last scale."""
        return self.patch_nums[-1] * self.downsampling


class AttnBlock(nn.Module):
    """Single-head self-attention over positions. Plain batched products, so that fvcore counts them."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(B, 3, C, H * W).unbind(1)  # each (B, C, HW)
        weights = torch.bmm(q.transpose(1, 2), k).mul(C**-0.5).softmax(dim=2)  # (B, HW queries, HW keys)
        h = torch.bmm(v, weights.transpose(1, 2)).view(B, C, H, W)
        return x + self.proj_out(h)


class Middle(nn.Module):
    """Residual block, attention, residual block, at the lowest resolution."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, groups)
        self.attn_1 = AttnBlock(channels, groups)
        self.block_2 = ResnetBlock(channels, channels, groups)

    def forward(self, h: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(h)))


class Level(nn.Module):
    """The residual blocks that lead through `channels` at one resolution, each followed by attention, if any."""

    def __init__(self, channels: Sequence[int], attention: bool, groups: int):
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(a, b, groups) for a, b in pairwise(channels))
        self.attn = nn.ModuleList(AttnBlock(c, groups) for c in channels[1:] if attention)

    def forward(self, h: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            h = block(h)
            if len(self.attn):
                h = self.attn[i](h)
        return h


class DownLevel(Level):
    """A level of the encoder; all but the last end with half the resolution."""

    def __init__(self, channels: Sequence[int], last: bool, groups: int):
        super().__init__(channels, attention=last, groups=groups)
        self.downsample = nn.Identity() if last else Downsample(channels[-1])

    def forward(self, h: Tensor) -> Tensor:
        return self.downsample(super().forward(h))


class UpLevel(Level):
    """A level of the decoder; all but the finest end with twice the resolution."""

    def __init__(self, channels: Sequence[int], coarsest: bool, finest: bool, groups: int):
        super().__init__(channels, attention=coarsest, groups=groups)
        self.upsample = nn.Identity() if finest else Upsample(channels[-1])

    def forward(self, h: Tensor) -> Tensor:
        return self.upsample(super().forward(h))


class Encoder(nn.Module):
    """Images (B, 3, H, W) to features (B, z_channels, H / downsampling, W / downsampling)."""

    def __init__(self, config: VQVAEConfig):
        super().__init__()
        widths = [config.ch * mult for mult in config.ch_mult]
        self.conv_in = nn.Conv2d(3, config.ch, 3, padding=1)
        self.down = nn.ModuleList()
        for i, (before, width) in enumerate(pairwise([config.ch, *widths])):
            channels = [before] + [width] * config.num_res_blocks
            self.down.append(DownLevel(channels, i == len(widths) - 1, config.norm_groups))
        self.mid = Middle(widths[-1], config.norm_groups)
        self.norm_out = group_norm(widths[-1], config.norm_groups)
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(self.mid(h))))


class Decoder(nn.Module):
    """The mirror of Encoder, with one residual block more at each level; `up` is numbered from the finest."""

    def __init__(self, config: VQVAEConfig):
        super().__init__()
        widths = [config.ch * mult for mult in config.ch_mult]
        self.conv_in = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], config.norm_groups)
        self.up = nn.ModuleList()
        for i, (width, before) in enumerate(pairwise([*widths, widths[-1]])):
            channels = [before] + [width] * (config.num_res_blocks + 1)
            self.up.append(UpLevel(channels, i == len(widths) - 1, i == 0, config.norm_groups))
        self.norm_out = group_norm(widths[0], config.norm_groups)
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class VQVAE(nn.Module):
    """Encoder, quantiser and decoder. Images are float32 in [-1, 1], (B, 3, H, W)."""

    def __init__(self, config: VQVAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = MultiScaleQuantizer(config.vocab_size, config.z_channels, config.patch_nums)
        self.quant_conv = nn.Conv2d(config.z_channels, config.z_channels, 3, padding=1)
        self.post_quant_conv = nn.Conv2d(config.z_channels, config.z_channels, 3, padding=1)

    def features(self, images: Tensor) -> Tensor:
        """f = quant_conv(encoder(images)): (B, z_channels, p_K, p_K). Smoothing adds its noise here."""
        return self.quant_conv(self.encoder(images))

    def decode(self, f_hat: Tensor) -> Tensor:
        """The picture of a (quantised) feature map, clamped to [-1, 1]."""
        return self.decoder(self.post_quant_conv(f_hat)).clamp(-1, 1)
