"""The files of a root that together make one data set: which there are, and which should be."""

import re
from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from varc.data.found import PassOver, Spec, naming, printable
from varc.data.tree import FILE_SUFFIXES, own_files
from varc.errors import InputError

NUMBERED = re.compile(r"(?P<name>.*?)[-_.]?(?P<number>\d{5,6})-of-(?P<of>\d{5,6})(?P<rest>[-.].*)?")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}  # those that the Hugging Face hub tells splits by


def shard_files(spec: Spec, pass_over: PassOver) -> list[Path]:
    """The files that a data set is read from, in order; what else stands in its root is passed over.

    Raises InputError where there is none, where their names tell several splits and `files` chooses none, and where
    a file is missing that the names of the others promise.
    """
    root, suffix = Path(spec["root"]), FILE_SUFFIXES[spec["reader"]]
    with naming(root, "cannot be read as a folder", "set root to the folder that holds the files"):
        seen = list(own_files(root, suffix, spec.get("files")))
    names = [one.path for one in seen if not one.reason]
    for one in seen:
        if one.lost:
            raise InputError(f"{printable(root / one.path)}: is {one.reason}, no file; take it away")
    if not names:
        chosen = f" that fit files: {spec['files']}" if "files" in spec else ""
        raise InputError(f"{root}: no *{suffix} files{chosen}; set root to the folder that holds them")
    if "files" not in spec:
        check_one_split(root, names)
    check_all_there(root, names, spec.get("files", "*"))
    for one in seen:
        if one.reason:
            pass_over(one.path, one.reason)
    return [root / name for name in names]


def check_one_split(root: Path, names: Iterable[str]) -> None:
    """Raises InputError where names of files tell several splits."""
    of: dict[str, str] = {}
    for name in names:
        if split := split_of(name):
            of.setdefault(split, name)
    if len(of) > 1:
        found = ", ".join(f"{split} ({printable(name)})" for split, name in sorted(of.items()))
        raise InputError(f"{root}: holds files of several splits, {found}; choose by files: a pattern of their names")


def split_of(name: str) -> str | None:
    """The split that a file's name tells, None where it tells none: train-00000-of-00001.parquet, val-03.tar."""
    words = [SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in SPLIT_WORDS]
    if words:
        return words[0]
    numbered = NUMBERED.fullmatch(name)
    return numbered["name"] or None if numbered else None


def check_all_there(root: Path, names: Iterable[str], glob: str) -> None:
    """Raises InputError where files are numbered "... of ..." and one that fits the pattern is not there."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name in names:
        if numbered := NUMBERED.fullmatch(name):
            before, after = name[: numbered.start("number")], name[numbered.end("of") :]
            groups[before, numbered["of"], after].append(name)
    for (before, of, after), found in groups.items():
        numbers = (f"{i:0{len(of)}}" for i in range(int(of)))
        wanted = [f"{before}{number}-of-{of}{after}" for number in numbers]
        absent = [name for name in wanted if name not in set(found) and fnmatchcase(name, glob)]
        if absent and not set(wanted).isdisjoint(found):
            raise InputError(
                f"{root}: {printable(found[0])} and others say that there are {int(of)} files, but {len(absent)} are "
                f"missing, first {printable(absent[0])}; download it, or choose by files: a pattern of their names"
            )
