"""The global generators in a given state, and what of a job's files may not depend on it: all but what is measured."""

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

MEASURED = re.compile(r"seconds|per_second|peak_memory|of_plan|of_sgemm")  # keys and columns of times and memory
DIGESTS = {"inputs", "seal"}  # of what holds measured times


def set_states(state: int) -> None:
    """Puts the global generators of random, numpy and torch into a state."""
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)


def unmeasured(value: Any) -> Any:
    """A JSON value without what is measured."""
    if isinstance(value, dict):
        return {key: unmeasured(v) for key, v in value.items() if key not in DIGESTS and not MEASURED.search(key)}
    return [unmeasured(v) for v in value] if isinstance(value, list) else value


def content(path: Path) -> bytes:
    """The bytes of a file that a job wrote, but for what is measured."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
            writer.write_table(table.replace_schema_metadata().combine_chunks())
        record = unmeasured(json.loads(table.schema.metadata[b"varc"]))
        return sink.getvalue().to_pybytes() + json.dumps(record, sort_keys=True).encode()
    if path.suffix == ".json":
        return json.dumps(unmeasured(json.loads(path.read_text()))).encode()
    if path.suffix == ".csv" and MEASURED.search(path.read_text().split("\n")[0]):
        table = pd.read_csv(path, dtype=str)
        return table[[name for name in table if not MEASURED.search(name)]].to_csv().encode()
    return path.read_bytes()
