"""A vision transformer (Dosovitskiy et al. 2020), the discriminative reference, by transformers."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification

from varc.baselines.discriminative import fit, logits, one_pass, public_network
from varc.baselines.family import Cost, Earlier, Images
from varc.baselines.settings.vit import Scoring, Shape, Training

MLP_RATIO = 4
CONFIG_KEYS = (
    *("image_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("hidden_act", "layer_norm_eps", "qkv_bias", "num_channels"),
)


class ViT(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], as the public ViTs take them, to logits (B, classes)."""

    def __init__(self, net: ViTForImageClassification):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).logits


def vit_config(shape: Shape, classes: int) -> ViTConfig:
    """The shape in transformers' words; epsilon and activation are those of the public weights.

    The initial weights keep the activations' size: the library's 0.02 suits a width of 768, and narrow networks learn
    much more slowly from it.
    """
    return ViTConfig(
        image_size=shape.image_size,
        patch_size=shape.patch_size,
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        intermediate_size=MLP_RATIO * shape.width,
        num_labels=classes,
        initializer_range=shape.width**-0.5,
        attn_implementation="sdpa",
    )


def build(shape: Shape, classes: int) -> ViT:
    """A network with random weights."""
    return ViT(ViTForImageClassification(vit_config(shape, classes)))


def load_public(path: str | Path, shape: Shape, classes: int) -> ViT:
    """The network of a Hugging Face folder, such as google/vit-base-patch16-224. Raises InputError as public_network
    does."""
    return ViT(public_network(path, ViTForImageClassification, vit_config(shape, classes), CONFIG_KEYS)).eval()


def train(
    model: ViT,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Minimises the cross-entropy over all classes."""
    fit(model, images, labels, **asdict(training), seed=seed, report=report)


def score(
    model: ViT, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """The logits (N, M) of the candidates."""
    return logits(model, images, candidates)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """One pass for all classes: 16.867 G for ViT-B/16, the paper's 16.9.

    The attention products (0.715 G there) are counted apart: fvcore passes over "sdpa" attention.
    """
    return one_pass(build(shape, classes), shape.image_size)


def cam_layer(model: ViT) -> nn.Module:
    """Where GradCAM looks: the normalised tokens (B, 1 + patches, width) that the last block attends to.

    After that block only the class token counts, so the patches' own gradients end there.
    """
    return model.net.vit.layers[-1].layernorm_before
