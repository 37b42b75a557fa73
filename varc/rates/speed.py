"""The speed of a device at any work whose GFLOPs are known."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from varc.planning import Speed

SECONDS = 1.0  # that a measurement takes at least
MOST_DEPTH = 4  # blocks of the models that are measured


def speed(gflops: float, work: Callable[[int], object], device: torch.device) -> Speed:
    """The speed of work(images) at so many GFLOPs an image.

    The number of images is doubled from 1 until it takes SECONDS. A call before that tells what a job takes beyond its
    rate: a device's first use, and what is prepared once.
    """
    first, taken = timed(work, 1, device), timed(work, 1, device)
    images = 1
    while taken < SECONDS:
        images *= 2
        taken = timed(work, images, device)
    return Speed(gflops * images / taken, max(0.0, first - taken / images))


def timed(work: Callable[[int], object], images: int, device: torch.device) -> float:
    """Seconds that work(images) takes."""
    start = time.monotonic()
    work(images)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - start


@contextmanager
def busy_neighbours(device: torch.device) -> Iterator[None]:
    """For a block in which every other core of a CPU computes, as in a run on all cores; nothing for a GPU.

    Jobs side by side share caches, clock rate and often the very core: each may take half as long again as alone.
    """
    count = cores() - torch.get_num_threads() if device.type == "cpu" else 0
    context = multiprocessing.get_context("fork")
    neighbours = [context.Process(target=compute, args=(os.getpid(),), daemon=True) for _ in range(count)]
    for neighbour in neighbours:
        neighbour.start()
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.terminate()
            neighbour.join()


def compute(parent: int) -> None:
    """Multiplies matrices on one thread for as long as this process is a child of `parent`."""
    torch.set_num_threads(1)
    a = torch.ones(256, 256)
    while os.getppid() == parent:
        a @ a


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
