import gc
import importlib
import itertools
import logging
import threading
import time

import pytest
import torch
from snakemake_runs import ROOT

from varc.errors import InputError
from varc.prefetch import ahead, waited


def test_results_come_in_the_order_of_the_items_however_long_each_takes():
    def slow_where_even(i):
        time.sleep(0.01 if i % 2 == 0 else 0)
        return i * i

    assert list(ahead(slow_where_even, range(20), threads=3, depth=5)) == [i * i for i in range(20)]
    assert list(ahead(slow_where_even, [], threads=3, depth=5)) == []


@pytest.mark.parametrize(("threads", "depth"), [(1, 1), (2, 4), (4, 2)])
def test_never_more_than_the_depth_is_computed_beyond_what_was_consumed(threads, depth):
    begun, full = itertools.count(1), threading.Semaphore(0)
    most = 0

    def counted(item):
        nonlocal most
        most = next(begun)
        full.release()
        return item

    found = ahead(counted, itertools.count(), threads, depth)  # endless: it must not be read to its end
    for taken in range(1, 11):
        next(found)
        for _ in range(1 + depth if taken == 1 else 1):  # all that may begin does, without being asked for
            assert full.acquire(timeout=10)
        time.sleep(0.002)
        assert most == taken + depth
    found.close()


def test_nothing_begins_before_the_first_is_asked_for():
    found = ahead(lambda i: pytest.fail("begun"), range(3), threads=2, depth=2)
    found.close()
    assert no_pool()


def test_several_threads_compute_at_a_time():
    both = threading.Barrier(2)
    assert list(ahead(lambda i: both.wait(timeout=10) >= 0, range(4), threads=2, depth=2)) == [True] * 4


def test_an_error_comes_at_its_item_after_all_before_it_and_ends_the_threads():
    begun = []

    def fails_at_three(i):
        begun.append(i)
        if i == 3:
            raise InputError(f"item {i}: damaged")
        time.sleep(0.01)
        return i

    found = ahead(fails_at_three, range(100), threads=2, depth=4)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match=r"^item 3: damaged$"):
        next(found)
    assert no_pool() and max(begun) <= 3 + 4
    assert list(found) == []


@pytest.mark.parametrize("closed", [True, False])
def test_a_generator_that_is_left_ends_its_threads(closed):
    begun = []
    found = ahead(begun.append, range(100), threads=2, depth=4)
    next(found)
    assert not no_pool()
    if closed:
        found.close()
    del found
    gc.collect()
    assert no_pool() and len(begun) <= 5


def test_calls_that_have_not_begun_are_dropped_and_those_that_have_are_waited_for():
    begun, ended = [], []

    def slow(i):
        begun.append(i)
        time.sleep(0.05)
        ended.append(i)

    found = ahead(slow, range(100), threads=1, depth=20)
    next(found)
    found.close()
    assert len(begun) == len(ended) <= 3 and no_pool()


def test_what_is_waited_for_counts_and_what_is_done_between_does_not():
    record = {}
    found = waited(ahead(lambda i: time.sleep(0.1) or i, range(2), threads=2, depth=2), record)
    assert next(found) == 0
    assert record["waited_seconds"] >= 0.1
    first = record["waited_seconds"]
    time.sleep(0.3)  # the second is ready long before it is asked for
    assert list(found) == [1]
    assert record["waited_seconds"] - first < 0.2
    assert no_pool()


def test_items_that_nobody_waited_for_are_closed_with_the_generator():
    record = {}
    items = ahead(lambda i: i, range(100), threads=1, depth=2)
    found = waited(items, record)
    next(found)
    found.close()
    assert no_pool() and list(items) == []

    def failing():
        yield 1
        raise InputError("damaged")

    found = waited(failing(), record)
    assert next(found) == 1
    with pytest.raises(InputError, match="damaged"):
        next(found)
    assert list(waited(ahead(abs, [], 1, 1), record)) == [] and record["waited_seconds"] < 1


def test_the_seconds_of_a_job_are_those_that_it_did_not_wait(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    job, start = importlib.import_module("job"), time.monotonic()
    with job.measured(torch.device("cpu"), 10, logging.getLogger("varc")) as record:
        for _ in waited(ahead(lambda i: time.sleep(0.2), range(1), threads=1, depth=1), record):
            time.sleep(0.02)
    assert record["waited_seconds"] >= 0.2 and record["seconds"] >= 0.02
    assert record["seconds"] + record["waited_seconds"] <= time.monotonic() - start
    assert record["images_per_second"] == 10 / record["seconds"]


def no_pool():
    """Whether no thread of a pool is left in this process."""
    return not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
