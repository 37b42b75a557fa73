"""What a file is made from: recorded in the provenance of every Parquet file, and compared before it is read on.

Snakemake reruns what its own records show to be stale. What it cannot see (files copied between runs, written by a job
of a killed run, or kept by --rerun-triggers mtime) is refused here.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from varc.errors import InputError
from varc.files import file_sha256

RESULTS = "results"  # the folder of all runs
AGAIN = "run the same command again"
OWN = {".safetensors", ".pth"}  # weights, which have their SHA-256 in the provenance by name (var_sha256)


class Making(NamedTuple):
    """The job that writes and reads files in this process. describe: what they are made from."""

    run: str | None
    seed: int | None
    describe: Callable[[], dict[str, Any]]


making: ContextVar[Making | None] = ContextVar("making", default=None)


def begin_job(
    rule: str,
    wildcards: dict[str, str],
    params: dict[str, Any],
    inputs: Iterable[str],
    code: Iterable[str],
    seed: int | None = None,
) -> None:
    """Says what the files that this process writes from here on are made from, and for which run it reads.

    params: the slice of the config that the rule takes. inputs: their contents are digested when the first file is
    written. code: files that hold, or list the digests of, the library files that the result depends on. seed: the
    config's.
    """
    code = sorted(set(code))
    data = sorted(path for path in set(inputs) - set(code) if Path(path).suffix not in OWN)

    @functools.cache
    def describe() -> dict[str, Any]:
        return {
            "rule": rule,
            "wildcards": wildcards,
            "params": json.loads(json.dumps(params, default=str)),
            "inputs": {path: file_sha256(path) for path in data},
            "code": hashlib.sha256("".join(map(file_sha256, code)).encode()).hexdigest(),
        }

    making.set(Making(wildcards.get("run"), seed, describe))


def made_from() -> dict[str, Any]:
    """What the files of this process are made from; empty outside a job."""
    job = making.get()
    return job.describe() if job else {}


def place(path: str | Path) -> str | None:
    """Where a file lies in the results of runs, "<run>/<path below it>"; None for one that lies elsewhere."""
    parts = Path(os.path.abspath(path)).parts
    if RESULTS not in parts[:-2]:
        return None
    last = max(i for i, part in enumerate(parts[:-2]) if part == RESULTS)
    return "/".join(parts[last + 1 :])


def check_place(path: str | Path, written: str | None, seed: int | None = None) -> None:
    """Raises InputError for a file of a run that is not read from where it was written (its place then), and in a job
    also for one of another run or drawn with another seed.

    Outside jobs a run's folder may have been renamed, and a file that was copied out of it is read as it is.
    """
    own, job = place(path), making.get()
    if own is None:
        return
    if written is None:
        if job:
            raise InputError(f"{path}: does not say for which place it was written; delete it and {AGAIN}")
        return
    kept = 0 if job else 1  # of the parts, the first one is the run
    if own.split("/")[kept:] != written.split("/")[kept:]:
        raise InputError(f"{path}: was written as {RESULTS}/{written}; delete it and {AGAIN}")
    if job and None not in (seed, job.seed) and seed != job.seed:
        raise InputError(f"{path}: drawn with seed {seed}, but the config's is {job.seed}; delete it and {AGAIN}")
