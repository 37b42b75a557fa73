"""Files from elsewhere, read within bounds: what a path is and how large, before its content.

Raises ValueError with the reason alone, or OSError: who reads says which file, and what to do.
"""

import json
import os
import stat
from pathlib import Path
from typing import IO, Any

LARGEST_LIST = 2**30  # bytes of a list of images or classes; all of ImageNet-21k takes a half
LARGEST_JSON = 2**24  # bytes of a card, a model's configuration, ObjectNet's mappings
KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def special(path: str | Path) -> str | None:
    """What a path leads to that is neither file nor folder, and may be waited for without end; None for all others."""
    try:
        return KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):  # absent, or no path
        return None


def check_file(path: str | Path, largest: int | None = None) -> None:
    """Raises ValueError for what is a pipe, a socket or a device, and for a file of more bytes."""
    if found := special(path):
        raise ValueError(f"it is {found}, no file")
    if largest is not None and (size := os.path.getsize(path)) > largest:
        raise ValueError(f"it has {size} bytes, more than the {largest} that are read")


def read_bytes(path: str | Path, largest: int) -> bytes:
    """The content of a file of at most so many bytes."""
    check_file(path, largest)
    with open(path, "rb") as file:
        return read_within(file, largest)


def read_within(file: IO[bytes], largest: int) -> bytes:
    """What is left of an open file, whose content may be far larger than the file, as that of a gzip."""
    content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it holds more than the {largest} bytes that are read")
    return content


def read_text(path: str | Path, largest: int) -> str:
    """A text in UTF-8, without a byte order mark; line ends as they are."""
    return read_bytes(path, largest).decode("utf-8-sig")


def read_json(path: str | Path, largest: int = LARGEST_JSON) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(read_text(path, largest))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


class BoundedReads:
    """An open file of which nobody reads more at once than so many bytes: a header may claim any size."""

    def __init__(self, file: IO[bytes], largest: int):
        self.file, self.largest = file, largest
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.largest:
            raise ValueError(f"{size} bytes are claimed, more than the {self.largest} that are read at once")
        return self.file.read(size)
