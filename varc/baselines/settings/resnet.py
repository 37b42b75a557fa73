"""The settings of the family resnet."""

from dataclasses import dataclass

PUBLIC_WEIGHTS = True  # load_public reads them
CAM_LAYER = True  # cam_layer tells where GradCAM looks


@dataclass(frozen=True)
class Shape:
    """widths, depths: of the stages, each of which but the first halves the picture.

    bottleneck: blocks of three convolutions, not two. large_stem: 7x7 of stride 2 and pooling, as on ImageNet; small
    images keep their resolution in a 3x3 stem. ResNet-50 is image_size 224, widths [256, 512, 1024, 2048], depths
    [3, 4, 6, 3], with both.
    """

    image_size: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    bottleneck: bool = False
    large_stem: bool = False


@dataclass(frozen=True)
class Training:
    """lr: the highest of the one-cycle schedule."""

    steps: int
    batch_size: int
    lr: float


@dataclass(frozen=True)
class Scoring:
    """Nothing to set."""
