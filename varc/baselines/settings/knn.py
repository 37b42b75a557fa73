"""The settings of the family knn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """memory: how many training images it remembers, at most."""

    image_size: int
    memory: int


@dataclass(frozen=True)
class Training:
    """Nothing to set."""


@dataclass(frozen=True)
class Scoring:
    """k: how many neighbours vote, each by one over its distance."""

    k: int
