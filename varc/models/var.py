"""The VAR transformer (Tian et al., NeurIPS 2024), with state dicts named as the public checkpoints' are.

Next-scale prediction: every token of a scale sees all tokens of its own and of earlier scales. Shapes: B batch,
L tokens, C width, H heads, D = C / H, V codebook entries.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varc.models.arithmetic import Arithmetic
from varc.models.scales import tokens_at

MAX_LOG_SCALE = math.log(100)


@dataclass(frozen=True)
class VARConfig:
    """The shape of a VAR. Class index `num_classes` is the unconditional one."""

    depth: int
    width: int
    heads: int
    num_classes: int
    vocab_size: int
    z_channels: int
    patch_nums: tuple[int, ...]
    shared_adaln: bool = False

    @property
    def num_tokens(self) -> int:
        """Tokens of an image at all scales."""
        return tokens_at(self.patch_nums, len(self.patch_nums))


class SelfAttention(nn.Module):
    """Attention with l2-normalised queries and keys and a learned scale per head."""

    zero_k_bias: Tensor

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.scale_mul_1H11 = nn.Parameter(torch.full((1, heads, 1, 1), 4.0).log())
        self.mat_qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, attn_bias: Tensor) -> Tensor:
        B, L, C = x.shape
        bias = torch.cat([self.q_bias, self.zero_k_bias, self.v_bias])
        qkv = F.linear(x, self.mat_qkv.weight, bias).view(B, L, 3, self.heads, C // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, L, D)
        scale = self.scale_mul_1H11.clamp_max(MAX_LOG_SCALE).exp()
        q = F.normalize(q, dim=-1) * scale
        k = F.normalize(k, dim=-1)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_bias, scale=1.0)
        return self.proj(h.transpose(1, 2).reshape(B, L, C))


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and MLP, each normalised, scaled, shifted and gated by the class (adaLN)."""

    def __init__(self, width: int, heads: int, shared_adaln: bool):
        super().__init__()
        self.width = width
        self.arithmetic = Arithmetic()
        self.attn = SelfAttention(width, heads)
        self.ffn = FeedForward(width)
        if shared_adaln:
            self.ada_gss = nn.Parameter(torch.randn(1, 1, 6, width) / width**0.5)
        else:
            self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def gates(self) -> Tensor:
        """The parameters that offset gamma1 and gamma2 alike for all classes, a view."""
        if hasattr(self, "ada_gss"):
            return self.ada_gss[:, :, :2]
        return self.ada_lin.get_parameter("1.bias")[: 2 * self.width]

    def modulation(self, cond: Tensor) -> tuple[Tensor, ...]:
        """gamma1, gamma2, scale1, scale2, shift1, shift2, each (B, 1, C).

        cond: the class embedding (B, C), or with shared adaLN its projection (B, 1, 6, C).
        """
        if hasattr(self, "ada_gss"):
            return (self.ada_gss + cond).unbind(2)
        return self.ada_lin(cond).view(-1, 1, 6, self.width).unbind(2)

    def forward(self, x: Tensor, cond: Tensor, attn_bias: Tensor) -> Tensor:
        gamma1, gamma2, scale1, scale2, shift1, shift2 = self.modulation(cond)
        x = x + self.attn(normalize(x) * (1 + scale1) + shift1, attn_bias) * gamma1
        return x + self.ffn(normalize(x) * (1 + scale2) + shift2) * gamma2


class HeadModulation(nn.Module):
    """The last adaLN, before the head: scale and shift only."""

    def __init__(self, width: int):
        super().__init__()
        self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        scale, shift = self.ada_lin(cond).view(-1, 1, 2, x.shape[-1]).unbind(2)
        return normalize(x) * (1 + scale) + shift


def normalize(x: Tensor) -> Tensor:
    """LayerNorm over the width, without affine parameters."""
    return F.layer_norm(x, (x.shape[-1],), eps=1e-6)


class VAR(nn.Module):
    """Class-conditional next-scale prediction: logits of every token given the earlier scales and the class."""

    lvl_1L: Tensor
    attn_bias_for_masking: Tensor

    def __init__(self, config: VARConfig):
        super().__init__()
        self.config = config
        self.arithmetic = Arithmetic()  # of varc.scoring.likelihood; forward below is the plain form
        C, L, first = config.width, config.num_tokens, config.patch_nums[0] ** 2
        self.class_emb = nn.Embedding(config.num_classes + 1, C)
        self.pos_start = nn.Parameter(torch.zeros(1, first, C))
        self.pos_1LC = nn.Parameter(torch.zeros(1, L, C))
        self.lvl_embed = nn.Embedding(len(config.patch_nums), C)
        self.word_embed = nn.Linear(config.z_channels, C)
        level = torch.cat([torch.full((p * p,), k) for k, p in enumerate(config.patch_nums)])[None]
        self.register_buffer("lvl_1L", level)
        hidden = level[:, :, None] < level[:, None, :]  # the query's scale is coarser than the key's
        bias = torch.zeros(1, 1, L, L).masked_fill(hidden[:, None], -torch.inf)
        self.register_buffer("attn_bias_for_masking", bias)
        if config.shared_adaln:
            self.shared_ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(C, 6 * C))
        self.blocks = nn.ModuleList(Block(C, config.heads, config.shared_adaln) for _ in range(config.depth))
        self.head_nm = HeadModulation(C)
        self.head = nn.Linear(C, config.vocab_size)

    def forward(self, labels: Tensor, teacher_input: Tensor) -> Tensor:
        """Logits (B, L', V) in float32 of the first scales.

        labels: (B,) class_ids, num_classes for the unconditional class. teacher_input: (B, L' - p_0^2, Cvae), see
        MultiScaleQuantizer.teacher_input; its length says how many scales there are.
        """
        config = self.config
        cond = self.class_emb(labels)  # (B, C)
        start = cond[:, None] + self.pos_start  # (B, p_0^2, C)
        x = torch.cat([start, self.word_embed(teacher_input)], dim=1)
        L = x.shape[1]
        x = x + self.lvl_embed(self.lvl_1L[:, :L]) + self.pos_1LC[:, :L]
        attn_bias = self.attn_bias_for_masking[:, :, :L, :L].to(x.dtype)
        block_cond = self.shared_ada_lin(cond).view(-1, 1, 6, config.width) if config.shared_adaln else cond
        for block in self.blocks:
            x = block(x, block_cond, attn_bias)
        return self.head(self.head_nm(x, cond)).float()
