"""Class lists: which class_id a folder has. Labels never follow from the order of folders."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

from varc.errors import InputError

COLUMNS = ("folder", "class_id", "name")


class ClassEntry(NamedTuple):
    """A row of a class list. class_id is the model's numbering."""

    folder: str
    class_id: int
    name: str


def read_class_list(path: str | Path) -> list[ClassEntry]:
    """The classes of a CSV with the columns folder, class_id, name.

    Raises InputError, with file and line, for missing columns, a class_id that is no number from 0, a folder or
    class_id that occurs twice, and an empty list.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: the class list cannot be read ({error})") from None
    if not rows:
        raise InputError(f"{path}: the class list has no rows; expected the columns {', '.join(COLUMNS)}")
    entries = [class_entry(path, line, row) for line, row in enumerate(rows, start=2)]
    for field in ("folder", "class_id"):
        values = [getattr(entry, field) for entry in entries]
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if twice:
            raise InputError(f"{path}: {field} {twice[0]} occurs more than once; each may stand in one row only")
    return entries


def class_entry(path: str | Path, line: int, row: dict[str, str | None]) -> ClassEntry:
    """One checked row; see read_class_list."""
    folder, class_id, name = (row.get(column) for column in COLUMNS)
    if folder is None or class_id is None or name is None:
        found = ", ".join(str(key) for key in row)
        raise InputError(f"{path}, line {line}: expected the columns {', '.join(COLUMNS)}, found {found}")
    if not class_id.strip().isdecimal():
        raise InputError(f"{path}, line {line}: class_id is {class_id!r}, expected a whole number from 0")
    return ClassEntry(folder, int(class_id), name)


def data_set_classes(spec: dict[str, Any]) -> list[ClassEntry]:
    """The class list of a data set's config entry: its `classes` file, or the ten digits for reader `digits`."""
    if "classes" not in spec:
        return [ClassEntry(str(i), i, str(i)) for i in range(10)]
    return read_class_list(spec["classes"])


def class_ids(entries: list[ClassEntry]) -> list[int]:
    """All class_ids of a list, ascending: the candidates of a funnel's first stage."""
    return sorted(entry.class_id for entry in entries)
