"""What readers find, and how they say that they cannot."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from varc.errors import InputError, in_one_line
from varc.lookalike import beginning, lookalike

Spec = dict[str, Any]  # a data set's entry in the config
OpenImage = Callable[["Found"], Image.Image]
PassOver = Callable[[str, str], None]  # is told what a source holds beside images: its name, and why it is none


class Found(NamedTuple):
    """An image as its source has it: a stable name, what tells its class, the file that it lies in, and its group."""

    image_id: str
    folder: str
    path: str
    group: str | None = None


def forget(path: str, reason: str) -> None:
    """For those who do not ask what is passed over."""


class Reader(NamedTuple):
    """list_images(spec, pass_over) yields every image, and tells what is passed over; open_images(spec) returns what
    opens one by its image_id and path."""

    list_images: Callable[..., Iterator[Found]]
    open_images: Callable[[Spec], OpenImage]


def printable(text: object) -> str:
    """A text in one line and one blank between words, with bytes that are not UTF-8 spelled out."""
    return in_one_line(" ".join(str(text).encode(errors="backslashreplace").decode().split()))


def told(error: Exception) -> str:
    """An exception in words: its message, and its kind where that alone would say little."""
    text = printable(error)
    return text if " " in text else f"{type(error).__name__} {text}".strip()


@contextmanager
def naming(name: str | Path, failure: str, remedy: str, head: bytes | None = None) -> Iterator[None]:
    """For a block that reads a file, or a part of one: raises InputError for any exception in it.

    The message has the name, the failure, the exception in words, and the remedy. Where the file is a pointer or a web
    page in the place of what should be there, it says so. head: the first bytes, where the name is no file's.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # damaged files make libraries raise nearly anything
        why, what_to_do = lookalike(beginning(name) if head is None else head) or (told(error), remedy)
        raise InputError(f"{printable(name)}: {failure} ({why}); {what_to_do}") from error


def index_in(image_id: str) -> int:
    """The index in "source:index"."""
    return int(image_id.rpartition(":")[2])
