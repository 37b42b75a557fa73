"""Shapes of tensors in a checkpoint from its header alone: without torch and the data, and without running code."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varc.bounded import check_file

LARGEST_HEADER = 100_000_000  # bytes, as safetensors itself allows


class Opaque:
    """Stands for whatever else a pickle names: takes anything, does nothing."""

    def __init__(self, *given: Any, **named: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class Shape(Opaque):
    """Stands for a tensor: only its size is kept."""

    def __init__(self, *given: Any):
        self.size = given[2] if len(given) > 2 and isinstance(given[2], tuple) else ()


class Shapes(pickle.Unpickler):
    """Reads a pickle of torch.save, in which every tensor becomes a Shape. Imports nothing that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return Shape if name.startswith("_rebuild_tensor") else Opaque

    def persistent_load(self, pid: Any) -> None:
        return None


def positions(path: str | Path) -> int | None:
    """How many positions the VAR in a checkpoint has (its pos_1LC), or None where the header does not tell."""
    try:
        check_file(path)
        size = safetensors_size(path) if Path(path).suffix == ".safetensors" else pickled_size(path)
        return int(size[1])
    except Exception:  # a damaged file: what reads its weights says so
        return None


def position_embedding(tensors: Mapping[Any, Any]) -> Any:
    """What stands under pos_1LC, whatever wrappers of a model wrote before its name; None where nothing does."""
    return next((value for name, value in tensors.items() if str(name).rpartition(".")[2] == "pos_1LC"), None)


def safetensors_size(path: str | Path) -> Any:
    """The size of pos_1LC by a safetensors header: 8 bytes of length, then JSON."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) if length < LARGEST_HEADER else {}
    found = position_embedding(header)
    return found["shape"] if found else ()


def pickled_size(path: str | Path) -> Any:
    """The size of pos_1LC in what torch.save wrote, however deep in mappings it lies."""
    with zipfile.ZipFile(path) as archive:
        entry = next(found for found in archive.infolist() if found.filename.endswith("/data.pkl"))
        if entry.file_size > LARGEST_HEADER:
            return ()
        content = Shapes(io.BytesIO(archive.read(entry))).load()
    waiting, seen = [content], set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping) and id(found) not in seen:  # a mapping may hold itself
            seen.add(id(found))
            if isinstance(tensor := position_embedding(found), Shape):
                return tensor.size
            waiting.extend(found.values())
    return ()
