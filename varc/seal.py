"""Checksums of Parquet files and of JSON records, so that a damaged one is not read.

Parquet has checksums of pages, which hold the values, but none of the footer: a flipped bit there would give other
names, other types or another provenance without an error. The SHA-256 of the footer is put right before it, where no
reader of Parquet looks. A JSON record has the SHA-256 of its other keys.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from varc import bounded
from varc.errors import InputError
from varc.files import write_text
from varc.origin import check_place, made_from, place

MAGIC = b"PAR1"


def seal(path: str | Path) -> None:
    """Adds the checksum to a Parquet file that has just been written."""
    with open(path, "r+b") as file:
        footer = read_footer(file)
        file.seek(-len(footer), os.SEEK_END)
        file.write(hashlib.sha256(footer).digest() + footer)


def check_seal(path: str | Path) -> None:
    """Raises ValueError where the footer is not the one that was sealed, or there is none, OSError for no file."""
    with open(path, "rb") as file:
        footer = read_footer(file)
        expected = hashlib.sha256(footer).digest()
        start = file.seek(0, os.SEEK_END) - len(footer) - len(expected)
        if start < 0 or file.seek(start) != start or file.read(len(expected)) != expected:
            raise ValueError("its footer is not as it was written")


def read_footer(file: BinaryIO) -> bytes:
    """The footer of a Parquet file, with its length and the magic at its end. Raises ValueError where there is none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read()
    length = int.from_bytes(tail[:4], "little") + 8
    if tail[4:] != MAGIC or length > size:
        raise ValueError("no footer at its end")
    file.seek(size - length)
    return file.read()


SEAL, PLACE, MADE_FROM = "seal", "place", "made_from"  # what write_json adds to a record


def write_json(path: str | Path, record: dict[str, Any]) -> None:
    """Writes a record, sealed; one of a run also says its place there, and what it is made from (see varc.origin).
    Raises InputError where it can't be written."""
    full, found = json.loads(json.dumps(record)), place(path)
    if found:
        full |= {PLACE: found, MADE_FROM: made_from()}
    write_text(path, json.dumps({**full, SEAL: digest(full)}, indent=1) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """A record that write_json wrote. Raises InputError where it is absent, damaged, or another place's."""
    found = read_sealed(path)
    return {key: value for key, value in found.items() if key not in (PLACE, MADE_FROM)}


def read_sealed(path: str | Path) -> dict[str, Any]:
    """A record as read_json reads it, with what it says of itself."""
    try:
        found = bounded.read_json(path)
        if not isinstance(found, dict) or found.pop(SEAL, None) != digest(found):
            raise ValueError("it is not as varc wrote it")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run what writes it again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and run the same command again") from None
    check_place(path, found.get(PLACE), found.get("seed"))
    return found


def digest(record: dict[str, Any]) -> str:
    """The SHA-256 of a record as JSON, its keys sorted."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
