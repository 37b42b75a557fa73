"""Files that appear whole or not at all, so that nothing half-written is ever read; and their digests."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from varc.errors import InputError, in_one_line

FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for the beginning of one


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(path: str | Path) -> tuple[int, ...] | None:
    """What changes with any change of a file, its content included; None where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def check_sha256(path: str | Path, found: str, expected: str | None) -> None:
    """Raises InputError where a file has another SHA-256 than is expected of it, if any is."""
    if expected is not None and found != expected:
        raise InputError(
            f"{path} has SHA-256 {found}, but {expected} is expected, by the config or as the run began; put that file "
            f"back, or start the run again with this one"
        )


def joined_sha256(digests: Mapping[str, str | None]) -> str:
    """One SHA-256 for several files, from that of each in the order of their names; neither names nor folders count."""
    ordered = sorted((os.path.basename(path), found or "") for path, found in digests.items())
    return hashlib.sha256("".join(found for _, found in ordered).encode()).hexdigest()


@contextmanager
def unchanged(paths: Iterable[str | Path]) -> Iterator[None]:
    """For a block that reads files: raises InputError where one of them was changed or replaced meanwhile."""
    before = {path: identity(path) for path in paths}
    yield
    for path, found in before.items():
        if identity(path) != found:
            raise InputError(
                f"{path}: was changed while it was read; leave it as it is, and run the same command again"
            )


def led_out(path: str | Path, folder: str | Path) -> str | None:
    """A message where links lead from a path in a folder to somewhere else, None where none do. The folder itself may
    be a link."""
    real, root = os.path.realpath(path), os.path.realpath(folder)
    if os.path.commonpath([real, root]) == root:
        return None
    return f"{path}: a link leads to {real}, out of {folder}; take it away, or make a link of {folder} itself"


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path`, to be written in the block; it takes its place where the block ends well.

    What was written is on the disk before the name is, and the name when this returns: a power cut leaves the file or
    none, and never loses one that a finished job left behind. Folders are made.

    Raises InputError where the file cannot be written: a full disk, a folder that is read-only.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); mend that, and run the same command again") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Has what was written to a file, or the names in a folder, on the disk. Raises OSError where that fails."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file; raises InputError as `whole` does."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: str | Path, table: Any, float_format: str | None = None) -> None:
    """Writes a data frame; raises InputError as `whole`. Its texts, names from elsewhere among them, are in one line,
    and none begins as a formula of a spreadsheet."""
    import pandas as pd  # here, since most that write files have no table

    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    shown = {name: pd.Series([as_cell(v) for v in table[name]], table.index, dtype=object) for name in texts}
    with whole(path) as temporary:
        table.assign(**shown).to_csv(temporary, index=False, float_format=float_format)


def as_cell(value: Any) -> Any:
    """A value as a spreadsheet shows it; a text that it would take for a formula has an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = in_one_line(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
