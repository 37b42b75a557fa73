"""A checksum of a Parquet file's footer, which holds its schema and provenance.

Parquet has checksums of pages, which hold the values, but none of the footer: a flipped bit there would give other
names, other types or another provenance without an error. The SHA-256 of the footer is put right before it, where no
reader of Parquet looks.
"""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

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
