"""The settings of the family vae."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """hidden: units of the hidden layers; sigma: the standard deviation of p(x|z) per pixel, in units of [-1, 1]."""

    image_size: int
    hidden: int
    latent: int
    sigma: float
    channels: int = 1


@dataclass(frozen=True)
class Training:
    """batch_size: images of each class in a step."""

    steps: int
    batch_size: int
    lr: float


@dataclass(frozen=True)
class Scoring:
    """samples: how many z an image's likelihood is averaged over."""

    samples: int
