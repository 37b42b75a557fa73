"""The settings of the family nearest_mean."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Images of image_size x image_size."""

    image_size: int


@dataclass(frozen=True)
class Training:
    """Nothing to set."""


@dataclass(frozen=True)
class Scoring:
    """Nothing to set."""
