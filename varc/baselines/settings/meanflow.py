"""The settings of the family meanflow."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Shape:
    """A transformer on `channels` of pixels."""

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    channels: int = 3


@dataclass(frozen=True)
class Training:
    """Steps of so many images, and the peak learning rate."""

    steps: int
    batch_size: int
    lr: float


@dataclass(frozen=True)
class Scoring:
    """draws: pairs of a time and a noise in all. interval: instant, r = t; or average, r = t / 2."""

    draws: int
    interval: Literal["instant", "average"] = "instant"
