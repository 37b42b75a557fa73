"""Tars in the format of webdataset: a sample is all files whose names agree up to the first dot of the base name."""

import functools
import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from PIL import Image

from varc.bounded import BoundedReads, check_file, read_within
from varc.data.decode import LARGEST_PICTURE, decoded
from varc.data.found import Found, OpenImage, PassOver, Spec, forget, naming, printable
from varc.data.shard_files import shard_files
from varc.data.tree import IMAGE_SUFFIXES
from varc.errors import InputError

FIELD = re.compile(r"(?P<key>(?:.*/)?[^.]+)\.(?P<field>[^/]*)", re.DOTALL)
BLOCK, RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
END = 2 * BLOCK  # zeros: a tar ends with them, and may go on with zeros up to a whole record
REMEDY = "download it again"
LARGEST_CLASS = 4096  # bytes of a .cls


class Tar(tarfile.TarFile):
    """A tar that closes the file that it is given."""

    def close(self) -> None:
        super().close()
        cast(IO[bytes], self.fileobj).close()


class Sample(NamedTuple):
    """What a tar has of one key, by the names of the fields."""

    pictures: list[str]
    classes: list[str]  # the texts
    others: list[str]  # names of further files


def list_webdataset(spec: Spec, pass_over: PassOver = forget) -> Iterator[Found]:
    """root/*.tar in the format of webdataset: of each sample a picture and <key>.cls, whose text is the folder.

    Raises InputError for a tar that does not end as tars do, and for a sample without a picture or a class, or with two
    of them.
    """
    for path in shard_files(spec, pass_over):
        with naming(path, "cannot be read as a tar", REMEDY), opened_tar(path) as tar:
            samples, others = read_samples(path, tar)
        for name, reason in others:
            pass_over(f"{path.name}:{name}", reason)
        found = 0
        for key, sample in samples.items():
            for name in sample.others:
                pass_over(f"{path.name}:{name}", "another field of its sample")
            if sample.pictures or sample.classes or any(map(looks_wanted, sample.others)):
                check_sample(path, key, sample)
                found += 1
                yield Found(f"{path.name}:{sample.pictures[0]}", sample.classes[0], path.as_posix())
        if not found:
            raise InputError(f"{path}: holds no sample with a picture and a .cls; {REMEDY}, or take it away")


def read_samples(path: Path, tar: tarfile.TarFile) -> tuple[dict[str, Sample], list[tuple[str, str]]]:
    """The samples of a tar by their keys, and the members that belong to none, with the reason."""
    samples: dict[str, Sample] = {}
    others: list[tuple[str, str]] = []
    for member in members(path, tar):
        if member.isdir():
            continue
        parts, named = member.name.split("/"), FIELD.fullmatch(member.name)
        if any(part[:1] == "." and part not in {".", ".."} for part in parts) or "__MACOSX" in parts:
            others.append((member.name, "hidden"))
        elif not (member.isfile() or member.islnk() or member.issym()):
            others.append((member.name, "no file"))
        elif named is None:
            others.append((member.name, "no field of a sample by its name"))
        else:
            sample = samples.setdefault(named["key"], Sample([], [], []))
            field = named["field"].lower()
            if field == "cls":
                sample.classes.append(class_text(path, tar, member))
            elif f".{field}" in IMAGE_SUFFIXES:
                check_member(member, LARGEST_PICTURE)
                sample.pictures.append(member.name)
            else:
                sample.others.append(member.name)
    return samples, others


def looks_wanted(name: str) -> bool:
    """Whether a field has a picture's or a class's suffix after further dots: 000000.seg.png."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix == ".cls" or suffix in IMAGE_SUFFIXES


def check_sample(path: Path, key: str, sample: Sample) -> None:
    """Raises InputError for a sample that has not exactly one picture and one class."""
    name = printable(key)
    rule = "a sample's name ends at the first dot, and the rest is the field"
    if len(sample.pictures) > 1:
        found = " and ".join(printable(picture) for picture in sample.pictures)
        raise InputError(f"{path}: sample {name} has several pictures, {found}; {rule}; keep one of them")
    if len(sample.classes) > 1:
        raise InputError(f"{path}: {name}.cls stands there twice; keep one of them")
    if not sample.classes:
        found = printable((sample.pictures or sample.others)[0])
        raise InputError(f"{path}: {found} has no {name}.cls beside it ({rule}); make the tar again")
    if not sample.pictures:
        found = ", ".join(printable(other) for other in sample.others) or "no other file"
        raise InputError(f"{path}: {name}.cls has no picture beside it, but {found} ({rule}); make the tar again")


def class_text(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """The text of a .cls. Raises InputError where it is none."""
    with naming(f"{path}: {member.name}", "is no text that names a class", "make the tar again", b""):
        text = content(tar, member, LARGEST_CLASS).decode("utf-8-sig").strip()
        if not text or not text.isprintable():
            raise ValueError(f"it is {text!r}")
        return text


def check_member(member: tarfile.TarInfo, largest: int) -> None:
    """Raises ValueError for a member that claims more bytes, or bytes that no file need hold."""
    if member.issparse():
        raise ValueError(f"{member.name} is a sparse file, which may claim any size; write it as a plain one")
    if member.size > largest:
        raise ValueError(f"{member.name} claims {member.size} bytes, more than the {largest} that are read")


def content(tar: tarfile.TarFile, member: tarfile.TarInfo, largest: int) -> bytes:
    """What a member holds, or the one that it is a link to. Raises ValueError as check_member."""
    check_member(member, largest)
    file = tar.extractfile(member)
    return read_within(file, largest) if file else b""


def members(path: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, which must end as a tar does: tarfile takes any damage for the end."""
    before = -1
    while (member := tar.next()) is not None:
        if tar.offset <= before:
            raise ValueError(f"a member ends before it begins, at byte {tar.offset}")
        before = tar.offset
        yield member
    check_end(path, tar.offset)


def check_end(path: Path, offset: int) -> None:
    """Raises ValueError where from this byte on there is not what ends a tar: two blocks of zeros, and zeros up to a
    whole record."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(offset)
        tail = file.read(END + RECORD)
    zeros = len(tail) - len(tail.lstrip(b"\0"))
    if zeros < min(END, len(tail)):
        raise ValueError(f"a damaged header at byte {offset} of {size}")
    if len(tail) < END:
        raise ValueError(f"it ends at byte {size} without the {END} bytes of zeros that end a tar; cut short?")
    if zeros < len(tail):
        raise ValueError(f"it ends at byte {offset}, but more follows; two tars in one?")
    if size - offset != END and (size % RECORD or size - offset >= END + RECORD):
        raise ValueError(f"zeros from byte {offset} to {size}, more than end a tar; a download that was not finished?")


def opened_tar(path: str | Path) -> tarfile.TarFile:
    """An uncompressed tar. Raises InputError where it is unreadable."""
    with naming(path, "cannot be read as a tar", REMEDY):
        check_file(path)
        return Tar(fileobj=cast(IO[bytes], BoundedReads(open(path, "rb"), LARGEST_PICTURE)))


def open_webdataset(spec: Spec) -> OpenImage:
    """Members of the tars; the last tar stays open, since neighbours come from the same one."""

    @functools.lru_cache(maxsize=1)
    def opened(path: str) -> tuple[tarfile.TarFile, dict[str, Any]]:
        tar = opened_tar(path)
        with naming(path, "cannot be read as a tar", REMEDY):
            return tar, {member.name: member for member in tar.getmembers()}

    def open_image(found: Found) -> Image.Image:
        tar, by_name = opened(found.path)
        name = found.image_id.removeprefix(f"{Path(found.path).name}:")
        with naming(found.image_id, "cannot be read from its tar", REMEDY, b""):
            picture = content(tar, by_name[name], LARGEST_PICTURE)
        return decoded(io.BytesIO(picture), found.image_id)

    return open_image
