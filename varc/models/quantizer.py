"""The quantiser of VAR's multi-scale residual VQ-VAE: between features, tokens and the transformer's input.

After Tian et al., "Visual Autoregressive Modeling", NeurIPS 2024, with the public checkpoints' names. Scales are
counted from 0 here.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_PHI = 4


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
