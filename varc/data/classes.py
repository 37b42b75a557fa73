"""Class lists: which class_id a folder has. Labels never follow from the order of folders."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from varc import bounded
from varc.data.lists import nfc, read_list
from varc.errors import InputError, brief, shortened

LONGEST_CLASS_ID = 6  # digits
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
        rows = list(csv.DictReader(io.StringIO("\n".join(read_list(path, "the class list", "classes")))))
    except csv.Error as error:
        raise InputError(f"{path}: the class list cannot be read ({error}); write it as CSV in UTF-8") from None
    if not rows:
        raise InputError(f"{path}: the class list has no rows; expected the columns {', '.join(COLUMNS)}")
    entries = [class_entry(path, line, row) for line, row in enumerate(rows, start=2)]
    for field in ("folder", "class_id"):
        values = [nfc(str(getattr(entry, field))) for entry in entries]
        twice = sorted(value for value, count in Counter(values).items() if count > 1)
        if twice:
            raise InputError(
                f"{path}: {field} {shortened(twice[0])} occurs more than once; each may stand in one row only"
            )
    return entries


def class_entry(path: str | Path, line: int, row: dict[str, str | None]) -> ClassEntry:
    """One checked row; see read_class_list."""
    folder, class_id, name = (row.get(column) for column in COLUMNS)
    if folder is None or class_id is None or name is None:
        found = shortened(", ".join(str(key) for key in row))
        raise InputError(f"{path}, line {line}: expected the columns {', '.join(COLUMNS)}, found {found}")
    if not class_id.strip().isdecimal() or len(class_id) > LONGEST_CLASS_ID:  # a model has a row for each up to it
        expected = f"expected a whole number from 0 to {10**LONGEST_CLASS_ID - 1}"
        raise InputError(f"{path}, line {line}: class_id is {brief(class_id)}, {expected}")
    return ClassEntry(folder, int(class_id), name)


def data_set_classes(spec: dict[str, Any]) -> list[ClassEntry]:
    """The class list of a data set's config entry: its `classes` file, or the ten digits for reader `digits`."""
    if "classes" not in spec:
        return [ClassEntry(str(i), i, str(i)) for i in range(10)]
    return read_class_list(spec["classes"])


def class_ids(entries: list[ClassEntry]) -> list[int]:
    """All class_ids of a list, ascending: the candidates of a funnel's first stage."""
    return sorted(entry.class_id for entry in entries)


def folder_labels(spec: dict[str, Any], classes: list[ClassEntry]) -> dict[str, int | None]:
    """The label of each folder that the data set knows; None for one whose images are left out."""
    if spec["reader"] != "objectnet":
        return {entry.folder: entry.class_id for entry in classes}
    return {folder: min(ids) if ids else None for folder, ids in objectnet_classes(spec["root"], classes).items()}


def label_of(spec: dict[str, Any], classes: list[ClassEntry]) -> dict[int, int]:
    """class_id -> label, where several class_ids stand for one class of the data set; empty where none do.

    The label of such a class is its smallest class_id.
    """
    if spec["reader"] != "objectnet":
        return {}
    groups = objectnet_classes(spec["root"], classes).values()
    return {class_id: min(ids) for ids in groups for class_id in ids}


def objectnet_classes(root: str | Path, classes: list[ClassEntry]) -> dict[str, list[int]]:
    """The class_ids of each folder of ObjectNet (Barbu et al. 2019), by the mapping that comes with it.

    root/mappings/folder_to_objectnet_label.json names each folder's class; objectnet_to_imagenet_1k.json says which
    ImageNet classes it stands for, by their lists of names, several divided by "; ". They are matched to the class
    list by the first name. Folders that stand for none have none. Raises InputError for files that cannot be read,
    and for a name that the class list lacks.
    """
    mappings = Path(root) / "mappings"
    names = read_json(mappings / "folder_to_objectnet_label.json")
    stands_for = read_json(mappings / "objectnet_to_imagenet_1k.json")
    known = {entry.name: entry.class_id for entry in classes}
    result = {}
    for folder, name in names.items():
        first_names = [synset.split(",")[0].strip() for synset in stands_for.get(name, "").split(";") if synset.strip()]
        absent = [first for first in first_names if first not in known]
        if absent:
            raise InputError(
                f"{mappings / 'objectnet_to_imagenet_1k.json'}: {name!r} stands for {absent[0]!r}, which is no name in "
                f"the class list; use config/classes/objectnet.csv"
            )
        result[folder] = sorted(known[first] for first in first_names)
    return result


def read_json(path: Path) -> dict[str, str]:
    """A JSON object of texts. Raises InputError where it cannot be read, or is something else."""
    try:
        content = bounded.read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); set root to the unpacked objectnet-1.0") from None
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f"{path}: expected a JSON object of texts; set root to the unpacked objectnet-1.0")
    return content
