"""The multi-scale residual VQ-VAE of VAR, with state dicts named as the public checkpoints' are.

Architecture: Tian et al., "Visual Autoregressive Modeling", NeurIPS 2024; the encoder and decoder are those of VQGAN
(Esser et al. 2021) with attention at the lowest resolution only. Scales are counted from 0 here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_PHI = 4


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

    @property
    def downsampling(self) -> int:
        """Image pixels per side of one feature: a level but the last halves the resolution."""
        return 2 ** (len(self.ch_mult) - 1)

    @property
    def image_size(self) -> int:
        """Pixels per side of the images whose features are as large as the last scale."""
        return self.patch_nums[-1] * self.downsampling


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """(norm, SiLU, conv 3x3) twice beside a shortcut, which is a 1x1 convolution where the channels change."""

    def __init__(self, in_channels: int, out_channels: int, groups: int):
        super().__init__()
        self.norm1 = group_norm(in_channels, groups)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels, groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.nin_shortcut(x) + h


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


class Downsample(nn.Module):
    """Halves the resolution: zeros on the right and bottom, then a strided convolution without padding."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles the resolution: nearest neighbours, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


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


class Phi(nn.Conv2d):
    """The quantiser's residual convolution: half the input, half its 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return 0.5 * h + 0.5 * super().forward(h)


def phi_index(scale: int, num_scales: int) -> int:
    """Which of the 4 shared Phis serves `scale`: the tick of linspace(1/12, 11/12, 4) nearest to k / (K - 1).

    Exact ties (k = 2 and 7 of 10) fall as rounding has it, here as in the public code: hence NumPy.
    """
    position = scale / (num_scales - 1) if num_scales > 1 else 0.0
    ticks = np.linspace(1 / 12, 11 / 12, NUM_PHI)
    return int(np.argmin(np.abs(ticks - position)))


class SharedPhi(nn.Module):
    """The 4 Phis, each serving neighbouring scales."""

    def __init__(self, channels: int):
        super().__init__()
        self.qresi_ls = nn.ModuleList(Phi(channels) for _ in range(NUM_PHI))

    def forward(self, h: Tensor, scale: int, num_scales: int) -> Tensor:
        return self.qresi_ls[phi_index(scale, num_scales)](h)


class MultiScaleQuantizer(nn.Module):
    """Residual quantisation of a feature map, coarse to fine, with one codebook for all scales."""

    def __init__(self, vocab_size: int, channels: int, patch_nums: Sequence[int]):
        super().__init__()
        self.patch_nums = tuple(patch_nums)
        self.embedding = nn.Embedding(vocab_size, channels)
        self.quant_resi = SharedPhi(channels)
        self.register_buffer("ema_vocab_hit_SV", torch.zeros(len(self.patch_nums), vocab_size))

    def downsample_residual(self, residual: Tensor, scale: int) -> Tensor:
        """What `scale` quantises: (B, C, p_k, p_k), by area, except for the last scale, which takes it as it is."""
        if scale == len(self.patch_nums) - 1:
            return residual
        return F.interpolate(residual, size=(self.patch_nums[scale],) * 2, mode="area")

    def nearest_codes(self, z: Tensor) -> Tensor:
        """Indices (N,) of the codes nearest to the rows of z (N, C) by Euclidean distance."""
        codebook = self.embedding.weight
        distance = torch.addmm(
            z.square().sum(1, keepdim=True) + codebook.square().sum(1), z, codebook.T, alpha=-2, beta=1
        )
        return distance.argmin(dim=1)

    def contribution(self, tokens: Tensor, scale: int) -> Tensor:
        """What the tokens (B, p_k^2) of `scale` add to f_hat: (B, C, p_K, p_K)."""
        p, full = self.patch_nums[scale], self.patch_nums[-1]
        h = self.embedding(tokens).transpose(1, 2).reshape(len(tokens), -1, p, p)
        if scale < len(self.patch_nums) - 1:
            h = F.interpolate(h, size=(full, full), mode="bicubic", align_corners=False)
        return self.quant_resi(h, scale, len(self.patch_nums))

    def residual_steps(self, f: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Quantises f (B, C, p_K, p_K) scale by scale, from coarse to fine.

        Yields per scale what was quantised (B p_k^2, C), its codes (B, p_k^2), and their contribution to f_hat.
        """
        residual = f
        for scale in range(len(self.patch_nums)):
            z = self.downsample_residual(residual, scale).permute(0, 2, 3, 1).reshape(-1, f.shape[1])
            indices = self.nearest_codes(z).view(len(f), -1)
            h = self.contribution(indices, scale)
            yield z, indices, h
            residual = residual - h

    def quantize(self, f: Tensor) -> Tensor:
        """Tokens (B, L), coarse to fine, of features f (B, C, p_K, p_K)."""
        return torch.cat([indices for _, indices, _ in self.residual_steps(f)], dim=1)

    def split_scales(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Tokens (B, L) of the first scales, as one tensor (B, p_k^2) per scale."""
        sizes, total = [], 0
        for p in self.patch_nums:
            if total == tokens.shape[1]:
                break
            sizes.append(p * p)
            total += p * p
        if total != tokens.shape[1]:
            raise ValueError(f"{tokens.shape[1]} tokens are no whole number of scales of {self.patch_nums}")
        return tokens.split(sizes, dim=1)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """f_hat (B, C, p_K, p_K): the sum of the contributions of all scales that `tokens` (B, L) hold."""
        return torch.stack([self.contribution(t, k) for k, t in enumerate(self.split_scales(tokens))]).sum(0)

    def teacher_input(self, tokens: Tensor) -> Tensor:
        """The transformer's input for scales 1.. of the scales held by `tokens` (B, L).

        Returns (B, L - p_0^2, C): for each scale k + 1 the f_hat of scales 0..k, area-downsampled to p_{k+1}.
        """
        scales = self.split_scales(tokens)
        full, channels = self.patch_nums[-1], self.embedding.embedding_dim
        f_hat = self.embedding.weight.new_zeros(len(tokens), channels, full, full)
        inputs = [self.embedding.weight.new_zeros(len(tokens), 0, channels)]
        for k, t in enumerate(scales[:-1]):
            f_hat = f_hat + self.contribution(t, k)
            p = self.patch_nums[k + 1]
            inputs.append(F.interpolate(f_hat, size=(p, p), mode="area").flatten(2).transpose(1, 2))
        return torch.cat(inputs, dim=1)


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
