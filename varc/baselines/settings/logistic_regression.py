"""The settings of the family logistic_regression."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Images of image_size x image_size."""

    image_size: int


@dataclass(frozen=True)
class Training:
    """images: of how many it learns at most; steps: iterations at most; c: inverse regularisation."""

    images: int
    steps: int
    c: float = 1.0


@dataclass(frozen=True)
class Scoring:
    """Nothing to set."""
