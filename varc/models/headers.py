"""Shapes of tensors in a checkpoint from its header alone: without torch and the data, and without running code."""

import io
import json
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
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
    sizes = tensor_sizes(path).items()
    found = next((size for name, size in sizes if name.rpartition(".")[2] == "pos_1LC"), ())
    return found[1] if len(found) > 1 else None


def downsampling(path: str | Path) -> int | None:
    """Image pixels per side of one feature of the VQ-VAE in a checkpoint, or None where the header does not tell: a
    level of its encoder but the last halves the resolution."""
    levels = {level for name in tensor_sizes(path) for level in re.findall(r"\bencoder\.down\.(\d+)\.", name)}
    return 2 ** (len(levels) - 1) if levels else None


def tensor_sizes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Names of tensors, with what wrappers of a model wrote before them, and their sizes; none where the header does
    not tell."""
    try:
        check_file(path)
        found = safetensors_sizes(path) if Path(path).suffix == ".safetensors" else pickled_sizes(path)
        return {name: tuple(map(int, size)) for name, size in found.items()}
    except Exception:  # a damaged file: what reads its weights says so
        return {}


def safetensors_sizes(path: str | Path) -> dict[str, Sequence[Any]]:
    """The sizes by a safetensors header: 8 bytes of length, then JSON."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) if length < LARGEST_HEADER else {}
    return {name: tensor["shape"] for name, tensor in header.items() if "shape" in tensor}


def pickled_sizes(path: str | Path) -> dict[str, Sequence[Any]]:
    """The sizes in what torch.save wrote, however deep in mappings they lie."""
    with zipfile.ZipFile(path) as archive:
        entry = next(found for found in archive.infolist() if found.filename.endswith("/data.pkl"))
        if entry.file_size > LARGEST_HEADER:
            return {}
        content = Shapes(io.BytesIO(archive.read(entry))).load()
    sizes: dict[str, Sequence[Any]] = {}
    waiting, seen = [content], set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping) and id(found) not in seen:  # a mapping may hold itself
            seen.add(id(found))
            sizes |= {str(name): tensor.size for name, tensor in found.items() if isinstance(tensor, Shape)}
            waiting.extend(found.values())
    return sizes
