"""The settings of the family vit."""

from dataclasses import dataclass

PUBLIC_WEIGHTS = True  # load_public reads them
CAM_LAYER = True  # cam_layer tells where GradCAM looks


@dataclass(frozen=True)
class Shape:
    """ViT-B/16 is image_size 224, patch_size 16, width 768, depth 12, heads 12."""

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int


@dataclass(frozen=True)
class Training:
    """lr: the highest of the one-cycle schedule."""

    steps: int
    batch_size: int
    lr: float


@dataclass(frozen=True)
class Scoring:
    """Nothing to set."""
