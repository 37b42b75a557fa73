"""A residual network (He et al. 2015), the discriminative reference with convolutions, by transformers."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification

from varc.baselines.discriminative import fit, logits, one_pass, public_network
from varc.baselines.family import Cost, Earlier, Images
from varc.baselines.settings.resnet import Scoring, Shape, Training
from varc.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1]
BOTTLENECK = 4  # a bottleneck block is so much wider outside than inside
CONFIG_KEYS = (
    *("embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act", "num_channels"),
    *("downsample_in_first_stage", "downsample_in_bottleneck"),
)


class ResNet(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] to logits (B, classes); the network sees them normalised as ImageNet's."""

    def __init__(self, net: ResNetForImageClassification):
        super().__init__()
        self.net = net
        self.mean = nn.Buffer(2 * torch.tensor(MEAN)[:, None, None] - 1)
        self.std = nn.Buffer(2 * torch.tensor(STD)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return self.net((images - self.mean) / self.std).logits


def resnet_config(shape: Shape, classes: int) -> ResNetConfig:
    """The shape in transformers' words."""
    return ResNetConfig(
        embedding_size=shape.widths[0] // (BOTTLENECK if shape.bottleneck else 1),
        hidden_sizes=list(shape.widths),
        depths=list(shape.depths),
        layer_type="bottleneck" if shape.bottleneck else "basic",
        num_labels=classes,
    )


def build(shape: Shape, classes: int) -> ResNet:
    """A network with random weights. Raises InputError where widths and depths are not of the same stages."""
    if len(shape.widths) != len(shape.depths):
        raise InputError(f"shape: {len(shape.widths)} widths, but {len(shape.depths)} depths; give one of each a stage")
    net = ResNetForImageClassification(resnet_config(shape, classes))
    if not shape.large_stem:
        net.resnet.embedder = small_stem(net.config.embedding_size)
    return ResNet(net)


def small_stem(width: int) -> nn.Sequential:
    """3x3, stride 1, no pooling, with the other convolutions' initialisation."""
    convolution = nn.Conv2d(3, width, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


def load_public(path: str | Path, shape: Shape, classes: int) -> ResNet:
    """The network of a Hugging Face folder, such as microsoft/resnet-50. Raises InputError as public_network does, and
    for a shape with the small stem."""
    if not shape.large_stem:
        raise InputError(f"{path}: public networks have the large stem; say large_stem: true in shape:")
    return ResNet(public_network(path, ResNetForImageClassification, resnet_config(shape, classes), CONFIG_KEYS)).eval()


def train(
    model: ResNet,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Minimises the cross-entropy over all classes."""
    fit(model, images, labels, **asdict(training), seed=seed, report=report)


def score(
    model: ResNet, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """The logits (N, M) of the candidates, by the running means of batch normalisation."""
    return logits(model, images, candidates)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """One pass for all classes: 4.112 G for ResNet-50."""
    return one_pass(build(shape, classes), shape.image_size)


def cam_layer(model: ResNet) -> nn.Module:
    """Where GradCAM looks: the last stage's output (B, C, h, w), before it is pooled."""
    return model.net.resnet.encoder.stages[-1]
