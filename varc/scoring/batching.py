"""How many pairs go through a model at a time: a measured number on the CPU, by free memory on a GPU."""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.device import free_memory
from varc.keep import Keep, at_once

if TYPE_CHECKING:
    from varc.models.var import VAR, VARConfig

CPU_NUMBERS = 2**20  # tokens x width in a batch on the CPU: more leave its caches, see benchmarks/engine.py
CPU_TOKENS = 2**12  # tokens in a batch on the CPU: more gain nothing at any width, see benchmarks/batches.py
GPU_SHARE = 0.5  # of the free memory that a batch may take
MOST_TOKENS = 2**18  # in a batch: a product of so many rows already takes far longer than its launch
MOST_PAIRS = 2**16 - 2  # in a batch: attention has a block per pair, of which a grid of CUDA has fewer than 2^16
FLOAT = 4  # bytes

logger = logging.getLogger(__name__)

T = TypeVar("T")
Rows = TypeVar("Rows", NDArray[Any], Tensor)


def pass_bytes(config: "VARConfig", length: int) -> int:
    """Bytes of a pair's activations in a pass over `length` tokens, at most."""
    return FLOAT * length * 24 * config.width  # residual, normalised, qkv twice, MLP's inner layer twice


def past_bytes(config: "VARConfig", length: int) -> int:
    """Bytes of a pair's keys and values of all blocks for `length` tokens."""
    return FLOAT * length * 2 * config.depth * config.width


def most_pairs(length: int) -> int:
    """How many pairs of `length` tokens a batch may hold however much memory there is."""
    return max(1, min(MOST_TOKENS // length, MOST_PAIRS))


def pairs_per_batch(var: "VAR", length: int, device: torch.device, free: int | None = None) -> int:
    """How many pairs of `length` tokens a batch should hold: a measured number on the CPU, by free memory on a GPU.

    free: bytes of it; None: what there is now.
    """
    return pairs_of_width(var.config.width, length, pass_bytes(var.config, length), device, free)


def pairs_of_width(width: int, length: int, pass_bytes: int, device: torch.device, free: int | None = None) -> int:
    """The same of any transformer: of its width, and the bytes of a pair's activations in a pass."""
    if device.type != "cuda":
        return max(1, min(CPU_NUMBERS // (length * width), CPU_TOKENS // length))
    free = free_memory(device) if free is None else free
    return max(1, min(int(GPU_SHARE * free / pass_bytes), most_pairs(length)))


def in_batches(
    total: int, size: int, run: Callable[[int, int], Rows], keep: Keep = at_once
) -> Iterator[tuple[int, Rows]]:
    """First position and run(first, end), a row for each, of every batch of at most `size` of `total`, in order.

    The size is halved where memory does not suffice; where an earlier run kept a batch, it is that one's. Raises
    torch.OutOfMemoryError where memory does not suffice for one alone.
    """
    first = 0
    while first < total:
        found = keep(functools.partial(fitting, run, first, min(first + size, total)))
        yield first, found
        size = len(found)
        first += size


def fitting(run: Callable[[int, int], Rows], first: int, end: int) -> Rows:
    """run(first, end), or of fewer, halved where memory does not suffice; see in_batches."""
    while (found := unless_out_of_memory(functools.partial(run, first, end), last=end - first == 1)) is None:
        end = first + (end - first) // 2
        logger.warning("out of memory: %d pairs a batch from here on", end - first)
    return found


def unless_out_of_memory(run: Callable[[], T], last: bool) -> T | None:
    """What run() returns, or None where memory does not suffice; that is an error where it is the last try.

    When it returns, the tensors of the failed try are gone with its frames, so that their memory can be had again.
    """
    try:
        return run()
    except torch.OutOfMemoryError:
        if last:
            raise
    torch.cuda.empty_cache()
    return None
