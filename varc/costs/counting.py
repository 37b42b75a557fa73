"""Costs in GFLOPs, counted by fvcore on a real module.

fvcore's convention: one multiply-add is 1 FLOP; linear layers, convolutions, plain batched products and
normalisations count; scaled_dot_product_attention does not. Its products are counted apart here, as the plain
reference forward computes them: dense, although half of them are masked.
"""

import logging
from typing import Any, NamedTuple

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

ATTENTION = "scaled_dot_product_attention"


class Cost(NamedTuple):
    """GFLOPs in fvcore's convention, and those of the attention products, which are not part of them."""

    gflops: float
    attention_gflops: float


class ModelCosts(NamedTuple):
    """The costs that a classifier is made of: the encoder, and a pass with 1, 2, ... steps (passes[steps]): scales of a
    VAR, or chunks of an order of tokens."""

    encoder: Cost
    passes: dict[int, Cost]


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
