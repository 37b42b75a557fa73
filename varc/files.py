"""Files that appear whole or not at all, so that nothing half-written is ever read; and their digests."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from varc.errors import InputError


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path`, to be written in the block; it takes its place where the block ends well.

    Folders are made. Raises InputError where the file cannot be written: a full disk, a folder that is read-only.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); mend that, and run the same command again") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file; raises InputError as `whole` does."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_figure(path: str | Path, figure: Any) -> None:
    """Writes a matplotlib figure in the format of the path's suffix; raises InputError as `whole`.

    Equal figures are equal files: no date, and names within an SVG that are not drawn anew each time.
    """
    from matplotlib import rc_context  # here, since most that write files draw nothing

    with whole(path) as temporary, rc_context({"svg.hashsalt": "varc"}):
        figure.savefig(temporary, format=Path(path).suffix[1:], metadata={"Date": None})
