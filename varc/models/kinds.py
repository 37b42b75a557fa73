"""What a file of weights is, told by its content: another kind is named, before a library fails in words of its own."""

import os
import zipfile
from pathlib import Path

from varc.bounded import read_json, special
from varc.errors import InputError
from varc.lookalike import Lookalike, beginning, lookalike
from varc.models.headers import LARGEST_HEADER

LARGEST_INDEX = 50_000_000  # bytes of a JSON that is looked into
BEGINNINGS = {b"\x1f\x8b": "a gzip archive", b"GGUF": "a GGUF file", b"\x89HDF": "an HDF5 file"}


def check_kind(path: str | Path) -> None:
    """Raises InputError for a file that is not of the kind that its suffix says: .safetensors, or torch.save's.

    What is unknown is left to the library that reads it, and so is a file that is not there.
    """
    if kind := special(path):
        raise InputError(f"{path}: the weights cannot be read, since it is {kind}, no file; name the file itself")
    head = beginning(path)
    found = lookalike(head) or other_kind(path, head)
    if found:
        raise InputError(f"{path}: the weights cannot be read, since it is {found.what}; {found.remedy}")


def other_kind(path: str | Path, head: bytes) -> Lookalike | None:
    """What a file is that is not of the kind that its suffix says; None for one that is, or that is not known."""
    safe, publisher = Path(path).suffix == ".safetensors", "use the file of weights itself"
    if os.path.isfile(path) and not head:
        return Lookalike("empty", "download it again")
    if is_safetensors(path, head):
        return None if safe else Lookalike("a safetensors file by another name", "rename it to .safetensors")
    if head.startswith(b"PK\x03\x04"):
        return zip_kind(path, safe)
    if head.lstrip().startswith(b"{"):
        return json_kind(path)
    return next((Lookalike(name, publisher) for start, name in BEGINNINGS.items() if head.startswith(start)), None)


def is_safetensors(path: str | Path, head: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header, and the header."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= min(LARGEST_HEADER, os.path.getsize(path) - 8)


def zip_kind(path: str | Path, safe: bool) -> Lookalike | None:
    """What a zip archive is, where it is none that torch.save wrote, or goes by the name of another kind."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except Exception:  # damaged: the library says so
        return None
    if "constants.pkl" in names:
        return Lookalike("a TorchScript archive, which is a program", "save the model's state dict")
    if "data.pkl" not in names:
        return Lookalike("a zip archive", "unpack it")
    return Lookalike("a file of torch.save by another name", "rename it to .pth") if safe else None


def json_kind(path: str | Path) -> Lookalike | None:
    """What a JSON file in the place of weights is; None where it is no JSON."""
    try:
        content = read_json(path, LARGEST_INDEX)
    except (OSError, ValueError):
        return None
    index = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(index, dict) or not index:
        return Lookalike("a JSON file", "name the file of weights beside it")
    shards = sorted({str(name) for name in index.values()})
    remedy = "save the tensors of all as one .safetensors, and name that"
    return Lookalike(f"an index of {len(shards)} shards, first {shards[0]}", remedy)
