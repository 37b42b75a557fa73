"""The settings of the family ibinn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """channels: 1 for grey images; blocks: coupling blocks after each halving of the image; width: of their subnets;

    dense: width of the subnets of the fully connected block at the end.
    """

    image_size: int
    blocks: tuple[int, ...]
    width: int
    dense: int
    channels: int = 1


@dataclass(frozen=True)
class Training:
    """beta: weight of the classes against the images; sigma: noise on the pixels, in units of [-1, 1]."""

    steps: int
    batch_size: int
    lr: float
    beta: float
    sigma: float


@dataclass(frozen=True)
class Scoring:
    """Nothing to set."""
