"""What stands in the place of a file where a download went wrong, told by its first bytes."""

import re
from pathlib import Path
from typing import NamedTuple

HEAD = 512  # bytes that tell
POINTER = b"version https://git-lfs.github.com/spec/"
WEB_PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)


class Lookalike(NamedTuple):
    """What a file is in the place of another, and what to do."""

    what: str
    remedy: str


def lookalike(head: bytes) -> Lookalike | None:
    """What begins with these bytes, where it is known to stand in for a file that was not downloaded; else None."""
    if head.startswith(POINTER):
        return Lookalike("a Git LFS pointer, not the file itself", "run git lfs pull, or download the file itself")
    if WEB_PAGE.match(head):
        return Lookalike("a web page, not the file itself", "download the file itself, perhaps after logging in")
    return None


def beginning(path: str | Path) -> bytes:
    """The first bytes of a file; none where it is no file that can be read."""
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            return b""
        with open(path, "rb") as file:
            return file.read(HEAD)
    except (OSError, ValueError):
        return b""
