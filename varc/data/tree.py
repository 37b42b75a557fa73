"""What stands below a data set's root, and which of it a reader reads. Imports nothing heavy: rules ask it too."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

IMAGE_SUFFIXES = {
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
FILE_SUFFIXES = {"webdataset": ".tar", "parquet": ".parquet"}  # of readers that read the root's own files
IDX_SUFFIXES = ("-ubyte", "-ubyte.gz")


class Seen(NamedTuple):
    """What stands below a folder: a picture, or what is passed over for a reason, or what images may be lost by."""

    path: str  # relative to the folder, with /
    reason: str = ""  # empty for a picture
    lost: bool = False


def pictures_below(root: str | Path) -> Iterator[Seen]:
    """All that stands below a folder, but folders that are gone into; in order of names, links followed."""
    return inside(str(root), "", os.path.realpath(root), frozenset())


def inside(folder: str, relative: str, real: str, above: frozenset[str]) -> Iterator[Seen]:
    """What pictures_below yields of one folder. real: where it lies without links; above: the same of those that lead
    to it, since a link back to one of them would never end."""
    if real in above:
        yield Seen(relative, "a link to a folder that it lies in")
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Seen(relative or ".", f"the folder cannot be read ({error.strerror})", lost=True)
        return
    for entry in entries:
        path = f"{relative}/{entry.name}" if relative else entry.name
        seen = kind(entry, path)
        if seen is not None:
            yield seen
        else:
            below = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
            yield from inside(entry.path, path, below, above | {real})


def kind(entry: os.DirEntry[str], path: str) -> Seen | None:
    """What an entry of a folder is; None for a folder to go into."""
    if entry.name.startswith("."):
        return Seen(path, "hidden")
    suffix = os.path.splitext(entry.name)[1].lower()
    try:
        if entry.is_dir():
            return None
        if entry.is_file():
            return Seen(path) if suffix in IMAGE_SUFFIXES else Seen(path, "no picture by its name")
        dangling = entry.is_symlink()
    except OSError as error:
        return Seen(path, f"cannot be read ({error.strerror})", lost=True)
    if not dangling:
        return Seen(path, "no file", lost=suffix in IMAGE_SUFFIXES)
    # what has a picture's name may have been one, and what has no suffix a folder of them
    return Seen(path, f"a link to {os.readlink(entry.path)}, which is not there", suffix in {"", *IMAGE_SUFFIXES})


def own_files(root: str | Path, suffix: str, glob: str | None = None) -> Iterator[Seen]:
    """The files of one kind in a folder itself whose names fit a pattern, and what else stands in it."""
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            yield Seen(entry.name, "hidden")
        elif entry.is_dir():
            yield Seen(entry.name, "a folder; only the root's own files are read")
        elif os.path.splitext(entry.name)[1].lower() != suffix:
            yield Seen(entry.name, f"no *{suffix} by its name")
        elif glob is not None and not fnmatchcase(entry.name, glob):
            yield Seen(entry.name, f"does not fit files: {glob}")
        else:
            known = entry.is_file() or not os.path.exists(entry.path)  # what reads a dangling link says so
            yield Seen(entry.name, "" if known else "a pipe, a socket or a device", lost=not known)


def files_read(dataset: Any) -> Iterator[str]:
    """The files below a data set's root that its reader reads, relative to it, in order; none that it passes over.

    Folders and links that cannot be read are among them, since the reader says so.
    """
    reader, root = dataset["reader"], dataset["root"]
    if suffix := FILE_SUFFIXES.get(reader):
        yield from (seen.path for seen in own_files(root, suffix, dataset.get("files")) if not seen.reason)
    elif reader == "idx":
        yield from sorted(name for name in os.listdir(root) if name.endswith(IDX_SUFFIXES) and name[0] != ".")
    else:
        below = "images/" if reader == "objectnet" else ""
        yield from (below + seen.path for seen in pictures_below(os.path.join(root, below)) if took_part(seen))
        if reader == "objectnet":
            yield from ("mappings/folder_to_objectnet_label.json", "mappings/objectnet_to_imagenet_1k.json")


def took_part(seen: Seen) -> bool:
    """Whether a reader reads it, or stops at it."""
    return seen.lost or not seen.reason
