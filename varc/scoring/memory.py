"""How much of a GPU's memory a batch may take, and what is done where it was too much."""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

GPU_TOKENS = 2**18  # in a batch on a GPU, which keeps it busy: larger ones gain nothing, and take memory
GPU_PAIRS = 2**16 - 2  # in a batch on a GPU: two of the three dimensions of CUDA's grids end at 65,535

T = TypeVar("T")

logger = logging.getLogger(__name__)


def most_pairs(length: int) -> int:
    """How many pairs of `length` tokens a batch on a GPU may hold, whatever the memory."""
    return max(1, min(GPU_PAIRS, GPU_TOKENS // length))


def in_batches(total: int, size: int, work: Callable[[int, int], T]) -> Iterator[tuple[int, T]]:
    """(first, work(first, end)) of consecutive batches of at most `size` pairs of a total, in order.

    The size is halved where memory does not suffice. Raises torch.OutOfMemoryError where it does not for one.
    """
    first = 0
    while first < total:
        end = min(first + size, total)
        found = unless_out_of_memory(functools.partial(work, first, end), last_try=size == 1)
        if found is None:
            size //= 2
            logger.warning("out of memory: %d pairs a batch from here on", size)
            torch.cuda.empty_cache()
            continue
        yield first, found
        first = end


def unless_out_of_memory(work: Callable[[], T], last_try: bool = False) -> T | None:
    """work(), or None where memory does not suffice: what was begun is freed then, since the error is gone.

    Raises torch.OutOfMemoryError then on the last try.
    """
    try:
        return work()
    except torch.OutOfMemoryError:
        if last_try:
            raise
        return None
