"""Costs in GFLOPs, counted by fvcore on the real modules.

fvcore's convention: one multiply-add is 1 FLOP; linear layers, convolutions, plain batched products and
normalisations count; scaled_dot_product_attention does not. Its products are counted apart here, as the plain
reference forward computes them: dense, although half of them are masked.
"""

import functools
import logging
from typing import Any, NamedTuple

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from varc.models.var import VAR, VARConfig, tokens_at
from varc.models.vqvae import VQVAE, VQVAEConfig

ATTENTION = "scaled_dot_product_attention"


class Cost(NamedTuple):
    """GFLOPs in fvcore's convention, and those of the attention products, which are not part of them."""

    gflops: float
    attention_gflops: float


def attention_products(inputs: list[Any], outputs: list[Any]) -> dict[str, int]:
    """Multiply-adds of q k^T and of the weighted sum of v: B H L S (E + Ev)."""
    (B, H, L, E), (_, _, S, Ev) = (inputs[i].type().sizes() for i in (0, 2))
    return {ATTENTION: B * H * L * S * (E + Ev)}


def count(module: nn.Module, *inputs: torch.Tensor) -> Cost:
    """The cost of module(*inputs). A transformer on the meta device takes neither memory nor time."""
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(module, inputs)
    analysis.set_op_handle(f"aten::{ATTENTION}", attention_products)
    by_operator = analysis.by_operator()
    attention = by_operator.pop(ATTENTION, 0)
    return Cost(sum(by_operator.values()) / 1e9, attention / 1e9)


class FeatureExtractor(nn.Module):
    """The part of an autoencoder that the published figures count: encoder and quant_conv."""

    def __init__(self, autoencoder: Any):
        super().__init__()
        self.encoder, self.quant_conv = autoencoder.encoder, autoencoder.quant_conv

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.quant_conv(self.encoder(images))


@functools.cache
def encoder_cost(config: VQVAEConfig) -> Cost:
    """The cost of the features of one image.

    Runs the encoder, since tracing convolutions fails on the meta device; in bfloat16, which halves the memory (about
    1 GB at 512 px) and changes no count.
    """
    with torch.device("meta"):
        extractor = FeatureExtractor(VQVAE(config)).eval().bfloat16()
    extractor = extractor.to_empty(device="cpu")
    with torch.no_grad():
        image = torch.zeros(1, 3, config.image_size, config.image_size, dtype=torch.bfloat16)
        return count(extractor, image)


@functools.cache
def pass_cost(config: VARConfig, scales: int) -> Cost:
    """The cost of one forward pass: one class, one token sample, the first `scales` scales."""
    length = tokens_at(config.patch_nums, scales) - config.patch_nums[0] ** 2
    with torch.device("meta"):
        labels = torch.zeros(1, dtype=torch.int64)
        return count(VAR(config), labels, torch.empty(1, length, config.z_channels))


class ModelCosts(NamedTuple):
    """The costs that a classifier is made of: the encoder, and a pass with 1, 2, ... scales (passes[scales])."""

    encoder: Cost
    passes: dict[int, Cost]


def model_costs(vqvae: VQVAEConfig, var: VARConfig) -> ModelCosts:
    """Counts the real modules of a model."""
    scales = range(1, len(var.patch_nums) + 1)
    return ModelCosts(encoder_cost(vqvae), {k: pass_cost(var, k) for k in scales})
