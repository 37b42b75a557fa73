"""Work that threads do ahead of its consumer, in order and in bounded memory, and how long the consumer waits."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any, TypeVar

LOADERS = 2  # threads that load images: one starves the device, more gain little; see benchmarks/prefetch.py
BATCHES_AHEAD = 4  # of images, beyond that which the device has

T = TypeVar("T")
R = TypeVar("R")


def ahead(function: Callable[[T], R], items: Iterable[T], threads: int, depth: int) -> Generator[R, None, None]:
    """function(item) of every item, in order, computed in threads: at most `depth` calls beyond what was consumed.

    What a call raises is raised at its item. After that, or once the generator is closed, no thread is left: calls that
    have not begun are dropped, and those that have are waited for.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = deque(pool.submit(function, item) for item in islice(source, depth))
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(source, 1))
            yield found
    finally:
        pool.shutdown(cancel_futures=True)


def waited(items: Generator[T, None, None], record: dict[str, Any]) -> Generator[T, None, None]:
    """The items, closed with this generator; the seconds that are waited for them go to record["waited_seconds"]."""
    record.setdefault("waited_seconds", 0.0)
    with closing(items):
        while True:
            start = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                record["waited_seconds"] += time.monotonic() - start
            yield item
