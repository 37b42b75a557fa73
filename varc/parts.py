"""Pieces of a job's result in a folder beside its output, from which a killed job goes on to the same result."""

import hashlib
import logging
import shutil
import uuid
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.errors import InputError
from varc.keep import Pace, fingerprint_text
from varc.storage import provenance, read_parquet, write_parquet

Array = NDArray[Any]
T = TypeVar("T")

SCHEMA = pa.schema(
    [
        ("piece", pa.int32()),  # its number in the file; -1 for an array of the state
        ("name", pa.string()),  # of an array of the state; "tuple" for one of several that make a piece
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("data", pa.large_binary()),
    ]
)

logger = logging.getLogger("varc")


class Part(NamedTuple):
    """What a file holds."""

    pieces: list[Any]
    state: dict[str, Tensor]


class Parts:
    """A varc.keep.Keep whose pieces are saved from time to time, each saving in a sealed file of its own.

    The files of another fingerprint are not gone on from, nor a damaged one and those after it. The fingerprint is of
    what the job is made from (varc.origin.begin_job) and of further facts: all that the result depends on.

    state: tensors of the caller, saved as they are after the last piece, and there again when a run goes on. spent:
    seconds by name that made the kept pieces; clock() gives those to be saved.
    """

    def __init__(self, output: str | Path, facts: dict[str, Any]) -> None:
        path = Path(output)
        self.folder = path.with_name(f".{path.name}.parts")
        self.fingerprint = hashlib.sha256(fingerprint_text(facts).encode()).hexdigest()
        self.state: dict[str, Tensor] = {}
        self.spent: dict[str, float] = {}
        self.clock: Callable[[], dict[str, float]] = dict
        self.kept: deque[Any] = deque()  # of an earlier run, and not yet asked for
        self.fresh = True  # whether this run computed the last piece
        self.new: list[Any] = []  # not yet saved
        self.files, self.last = 0, ""  # how many are there, and the name that the last one gave itself
        self.load()
        self.pace = Pace()

    def __call__(self, compute: Callable[[], T], /) -> T:
        self.fresh = not self.kept
        if self.kept:
            return self.kept.popleft()
        piece = compute()
        self.new.append(piece)
        if self.pace.due():
            self.save()
        return piece

    def rest(self) -> list[Any]:
        """All kept pieces that were not asked for yet, at once."""
        found = list(self.kept)
        self.kept.clear()
        return found

    def path(self, number: int) -> Path:
        """A file of the folder."""
        return self.folder / f"{number}.part"

    def load(self) -> None:
        """Takes what an earlier run saved, up to the first file that is damaged or of another run."""
        for number in count():
            path = self.path(number)
            if not path.exists():
                break
            try:
                record = provenance(path)
                if record.get("fingerprint") != self.fingerprint:
                    logger.info("%s: of other inputs, settings, code or device; not gone on from", path)
                    break
                if record["after"] != self.last:  # two runs wrote here at the same time
                    break
                part = read_part(path)
            except InputError:
                logger.warning("%s: damaged; not gone on from", path)
                break
            self.kept.extend(part.pieces)
            self.state, self.spent = part.state, record["spent"]
            self.files, self.last = number + 1, record["name"]
        if self.files:
            seconds = self.spent.get("seconds", 0.0)
            logger.info("goes on: %d pieces are kept that took %.1f s", len(self.kept), seconds)
        else:
            self.remove()

    def save(self) -> None:
        """Writes the new pieces; where that fails, they wait for the next time."""
        name = uuid.uuid4().hex
        record = {"fingerprint": self.fingerprint, "name": name, "after": self.last, "spent": self.clock()}
        try:
            with self.pace.saving():
                write_part(self.path(self.files), Part(self.new, self.state), record)
        except InputError as error:
            logger.warning("what is done so far is not kept: %s", error)
            return
        self.new, self.last = [], name
        self.files += 1

    def remove(self) -> None:
        """Takes the folder away, once the output is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_part(path: Path, part: Part, record: dict[str, Any]) -> None:
    """Writes a file, whole or not at all. Raises InputError where it cannot be written."""
    rows: list[tuple[int, str, Array]] = []
    for i, piece in enumerate(part.pieces):
        rows += [(i, "tuple", array) for array in piece] if isinstance(piece, tuple) else [(i, "", piece)]
    rows += [(-1, name, tensor.cpu().numpy()) for name, tensor in part.state.items()]
    columns = {
        "piece": [i for i, _, _ in rows],
        "name": [name for _, name, _ in rows],
        "dtype": [array.dtype.str for _, _, array in rows],
        "shape": [array.shape for _, _, array in rows],
        "data": [array.tobytes() for _, _, array in rows],
    }
    write_parquet(path, columns, SCHEMA, record)


def read_part(path: Path) -> Part:
    """What write_part wrote. Raises InputError for a damaged file."""
    pieces: dict[int, Any] = {}
    state: dict[str, Tensor] = {}
    for row in read_parquet(path).to_pylist():
        array = np.frombuffer(row["data"], row["dtype"]).reshape(row["shape"]).copy()
        if row["piece"] < 0:
            state[row["name"]] = torch.from_numpy(array)
        elif row["name"]:
            pieces[row["piece"]] = (*pieces.get(row["piece"], ()), array)
        else:
            pieces[row["piece"]] = array
    return Part(list(pieces.values()), state)
