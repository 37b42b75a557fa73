"""What a killed job goes on from: the pieces that a computation has done, when they are saved, and for whom."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch

from varc.origin import made_from

SECONDS = 60.0  # between two savings at least: a job that takes less saves nothing
SHARE = 0.01  # of the time, which all savings but the first take at most

T = TypeVar("T")


class Keep(Protocol):
    """Takes the pieces of a computation one after the other: what compute() returns, or returned in an earlier run.

    A piece is an array or a tuple of arrays, which nobody changes afterwards. Which pieces are asked for, in which
    order, must follow from what the computation is given and from the pieces before alone. So whatever else decides
    something, such as the memory that is free, is a piece too.
    """

    def __call__(self, compute: Callable[[], T], /) -> T: ...


def at_once(compute: Callable[[], T], /) -> T:
    """A Keep that keeps nothing."""
    return compute()


class Pace:
    """When to save: every SECONDS, or less often where saving takes more than its SHARE of the time."""

    def __init__(self) -> None:
        self.next = time.monotonic() + SECONDS

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() >= self.next

    @contextmanager
    def saving(self) -> Iterator[None]:
        """For the block that saves."""
        start = time.monotonic()
        try:
            yield
        finally:
            end = time.monotonic()
            self.next = end + max(SECONDS, (end - start) / SHARE)


def fingerprint_text(facts: Any) -> str:
    """What a result follows from, as text: this torch, what the job is made from (varc.origin), and further facts."""
    return json.dumps([torch.__version__, made_from(), facts], sort_keys=True)
