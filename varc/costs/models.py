"""Costs in GFLOPs of a VQ-VAE's encoder and a VAR's passes, counted on the real modules; see varc.costs.counting."""

import functools

import torch

from varc.costs.counting import Cost, FeatureExtractor, ModelCosts, count
from varc.models.var import VAR, VARConfig, tokens_at
from varc.models.vqvae import VQVAE, VQVAEConfig


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


def model_costs(vqvae: VQVAEConfig, var: VARConfig) -> ModelCosts:
    """Counts the real modules of a model."""
    scales = range(1, len(var.patch_nums) + 1)
    return ModelCosts(encoder_cost(vqvae), {k: pass_cost(var, k) for k in scales})
