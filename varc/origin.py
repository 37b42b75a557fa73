"""What a file is made from: recorded in the provenance of every Parquet file, and compared before it is read on.

Snakemake reruns what its own records show to be stale. What it cannot see (files copied between runs, written by a job
of a killed run, or kept by --rerun-triggers mtime) is refused here.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from varc.files import file_sha256

OWN = {".safetensors", ".pth"}  # weights, which have their SHA-256 in the provenance by name (var_sha256)

origin: ContextVar[Callable[[], dict[str, Any]]] = ContextVar("origin", default=dict)


def begin_job(
    rule: str, wildcards: dict[str, str], params: dict[str, Any], inputs: Iterable[str], code: Iterable[str]
) -> None:
    """Says what the files that this process writes from here on are made from.

    params: the slice of the config that the rule takes. inputs: their contents are digested when the first file is
    written. code: files that hold, or list the digests of, the library files that the result depends on.
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

    origin.set(describe)
