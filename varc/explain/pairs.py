"""The file of `explain: pairs`: which two classes are told apart, image by image.

A CSV with the columns image_id, target, against; and counterpart, where the two pictures tell what truly differs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from varc.data.classes import LONGEST_CLASS_ID
from varc.data.lists import nfc, read_list
from varc.errors import InputError, brief

if TYPE_CHECKING:  # torch takes seconds to import, and every start of a run reads pairs
    from varc.data.manifest import Listed

COLUMNS = ("image_id", "target", "against")
COUNTERPART = "counterpart"


class Pair(NamedTuple):
    """A row: why an image is of one class and not of another one."""

    image_id: str
    target: int
    against: int
    counterpart: str | None  # the image_id of the other class's picture; None where the file has no such column
    line: int


def read_pairs(path: str | Path) -> list[Pair]:
    """The rows of a file. Raises InputError, with file and line, for one that cannot be read or is empty, an absent
    column, an image_id that is given twice, a class_id that is no number from 0, and a class told from itself."""
    try:
        table = csv.DictReader(io.StringIO("\n".join(read_list(path, "the pairs", "pairs"))))
        found = [pair_of(path, table.line_num, row) for row in table]
    except csv.Error as error:
        raise InputError(f"{path}: the pairs cannot be read ({error}); write them as CSV in UTF-8") from None
    if not found:
        raise InputError(f"{path}: no pairs; expected the columns {', '.join(COLUMNS)}, and a line for each image")
    lines: dict[str, int] = {}
    for pair in found:
        if (before := lines.setdefault(nfc(pair.image_id), pair.line)) != pair.line:
            twice = f"image_id {brief(pair.image_id)} is in line {before} too"
            raise InputError(f"{path}, line {pair.line}: {twice}; keep one of the two")
    return found


def pair_of(path: str | Path, line: int, row: dict[str, str | None]) -> Pair:
    """One checked row; see read_pairs."""
    wanted = (*COLUMNS, COUNTERPART) if COUNTERPART in row else COLUMNS
    for column in wanted:
        if not row.get(column):
            columns = ", ".join(str(key) for key in row)
            found = f"it is empty, of the columns {columns}" if column in row else f"the columns are {columns}"
            raise InputError(f"{path}, line {line}: {column} is missing: {brief(found)}; add it")
    target, against = (class_id_of(path, line, column, str(row[column])) for column in ("target", "against"))
    if target == against:
        raise InputError(f"{path}, line {line}: target and against are both {target}; name two classes")
    return Pair(str(row["image_id"]), target, against, row.get(COUNTERPART), line)


def class_id_of(path: str | Path, line: int, column: str, text: str) -> int:
    """The class_id in a cell; see read_pairs."""
    if not text.strip().isdecimal() or len(text) > LONGEST_CLASS_ID:
        expected = f"expected a class_id from 0 to {10**LONGEST_CLASS_ID - 1}"
        raise InputError(f"{path}, line {line}: {column} is {brief(text)}, {expected}")
    return int(text)


def has_counterparts(pairs: Sequence[Pair]) -> bool:
    """Whether the pairs say which picture shows the other class, so that the true difference is known."""
    return pairs[0].counterpart is not None


def check_classes(path: str | Path, pairs: Iterable[Pair], class_ids: Collection[int]) -> None:
    """Raises InputError, with file and line, for a class that the class list of the images lacks."""
    for pair in pairs:
        for column, class_id in (("target", pair.target), ("against", pair.against)):
            if class_id not in class_ids:
                raise InputError(
                    f"{path}, line {pair.line}: {column} {class_id} is not in the class list; name one of its class_ids"
                )


def listed_pairs(path: str | Path, pairs: Iterable[Pair], listed: Sequence[Listed]) -> list[Pair]:
    """The pairs in the order of the images of a data set, by whose image_ids they name them.

    Raises InputError, with file and line, for an image that the data set lacks; and for a picture that shows another
    class than the pair says, where it is to tell what truly differs.
    """
    by_name = {nfc(image.image_id): image for image in listed}

    def shown(pair: Pair, column: str, image_id: str, class_id: int) -> str:
        image = by_name.get(nfc(image_id))
        where = f"{path}, line {pair.line}: {column} {brief(image_id)}"
        if image is None:
            raise InputError(f"{where} is no image of the data set; take the line away, or name one of its images")
        if pair.counterpart is not None and image.label != class_id:
            raise InputError(f"{where} shows class {image.label}, not {class_id}; name a picture of class {class_id}")
        return image.image_id

    found = {}
    for pair in pairs:
        own = shown(pair, "image_id", pair.image_id, pair.target)
        other = None if pair.counterpart is None else shown(pair, COUNTERPART, pair.counterpart, pair.against)
        found[own] = pair._replace(image_id=own, counterpart=other)
    return [found[image.image_id] for image in listed if image.image_id in found]
