"""Pictures that are files of their own: folders of classes, ObjectNet, a flat folder with a file of labels."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from varc.data.classes import data_set_classes
from varc.data.decode import decoded
from varc.data.found import Found, OpenImage, PassOver, Spec, forget, printable
from varc.data.lists import nfc, read_list
from varc.data.tree import pictures_below
from varc.errors import InputError

HEADERS = {"file", "file_name", "filename", "id", "image", "image_id", "imageid", "name", "path", "picture"}


def pictures(root: Path, pass_over: PassOver) -> Iterator[str]:
    """The picture files below a folder, relative to it, and what is passed over: hidden files and folders, and files
    with another suffix.

    Raises InputError for a folder that is not there, or that may not be read, and for a link to nothing that may have
    been a picture or a folder of them.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set root to the folder that holds the pictures")
    for seen in pictures_below(root):
        if seen.lost:
            raise InputError(f"{printable(root / seen.path)}: {seen.reason}; mend that, or take it away")
        if seen.reason:
            pass_over(seen.path, seen.reason)
        else:
            yield seen.path


def list_image_folder(spec: Spec, pass_over: PassOver = forget) -> Iterator[Found]:
    """root/<folder>/...: one folder per class. A picture that lies in no folder has the folder "."."""
    root = Path(spec["root"])
    for picture in pictures(root, pass_over):
        folder, within, _ = picture.partition("/")
        yield Found(picture, folder if within else ".", (root / picture).as_posix())


def list_objectnet(spec: Spec, pass_over: PassOver = forget) -> Iterator[Found]:
    """ObjectNet as it is published: root/images/<folder>/..., see varc.data.classes.objectnet_classes."""
    return list_image_folder({**spec, "root": str(Path(spec["root"]) / "images")}, pass_over)


class Line(NamedTuple):
    """What a line of a file of labels says, and which one it is."""

    number: int
    name: str
    folder: str


def list_labels_file(spec: Spec, pass_over: PassOver = forget) -> Iterator[Found]:
    """Pictures anywhere below root, with a text file that says for each the folder of its class.

    Its lines hold a file name (with or without suffix, with or without the folders above it) and a folder, divided by a
    comma, a tab or a blank; what follows the folder is passed over, so ImageNet's LOC_val_solution.csv can be given as
    it is. Raises InputError for a picture that the file does not name, a name that fits several pictures or stands
    twice, and a name without a picture, unless its folder is one that `subset: true` leaves out.
    """
    root, lines = Path(spec["root"]), read_labels(spec["labels"])
    taken: dict[str, list[str]] = defaultdict(list)
    for picture in pictures(root, pass_over):
        name = next((name for name in names_of(picture) if name in lines), None)
        if name is None:
            found = printable(picture)
            raise InputError(f"{spec['labels']}: has no line for {found}; add one, or take the picture away")
        taken[name].append(picture)
        if len(taken[name]) > 1:
            number, both = lines[name].number, " and ".join(printable(one) for one in taken[name])
            raise InputError(
                f"{spec['labels']}, line {number}: {name!r} fits several pictures, {both}; write the folder before it"
            )
        yield Found(picture, lines[name].folder, (root / picture).as_posix())
    left_out = folders_left_out(spec, lines)
    absent = [line for name, line in lines.items() if name not in taken and line.folder not in left_out]
    if absent:
        raise InputError(
            f"{spec['labels']}: names {len(lines)} pictures, but {printable(root)} lacks {len(absent)} of them, first "
            f"{absent[0].name!r} (line {absent[0].number}); add them, or take their lines away"
        )


def names_of(picture: str) -> Iterator[str]:
    """The names that a line may give to a picture, the most exact one first."""
    path = PurePosixPath(nfc(picture))
    return (str(name) for name in (path, path.with_suffix(""), path.name, path.stem))


def read_labels(path: str) -> dict[str, Line]:
    """The lines of a file of labels by their names. Raises InputError for a line without a folder, and a name that
    stands twice."""
    lines: dict[str, Line] = {}
    for number, text in enumerate(read_list(path, "the labels", "labels"), 1):
        name, _, rest = text.strip().partition("," if "," in text else "\t" if "\t" in text else " ")
        name, folder = nfc(name.strip()), "".join(rest.split()[:1])
        if not text.strip() or (number == 1 and name.lower() in HEADERS):
            continue
        if not name or not folder:
            raise InputError(f"{path}, line {number}: {text.strip()!r}, expected a file name and a folder")
        if name in lines:
            raise InputError(f"{path}, line {number}: {name!r} stands in line {lines[name].number} too; keep one")
        lines[name] = Line(number, name, folder)
    return lines


def folders_left_out(spec: Spec, lines: dict[str, Line]) -> set[str]:
    """The folders whose pictures need not be there: with `subset: true`, those that the class list does not name."""
    if not spec.get("subset") or "classes" not in spec:
        return set()
    known = {nfc(entry.folder) for entry in data_set_classes(spec)}
    return {line.folder for line in lines.values() if nfc(line.folder) not in known}


def open_pictures(spec: Spec) -> OpenImage:
    """Picture files, decoded by Pillow."""
    return lambda found: decoded(found.path, found.path)
