"""The settings of the family diffusion."""

from dataclasses import dataclass
from typing import Literal

PUBLIC_WEIGHTS = True  # load_public reads them


@dataclass(frozen=True)
class Shape:
    """latent: in the latent space of Stable Diffusion's autoencoder, as DiT-XL/2 is; else on `channels` of pixels."""

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    channels: int = 3
    latent: bool = False


@dataclass(frozen=True)
class Training:
    """Steps of so many images, and the peak learning rate."""

    steps: int
    batch_size: int
    lr: float


@dataclass(frozen=True)
class Scoring:
    """draws: pairs of a time and a noise in all, those of an earlier stage included. loss: l2 or l1."""

    draws: int
    loss: Literal["l2", "l1"] = "l2"
