"""Damaged sources of every reader: each is read, or refused by one line that names what is wrong."""

import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import sources
from PIL import Image

from varc.data.classes import data_set_classes
from varc.data.manifest import load_images, manifest
from varc.data.tree import IMAGE_SUFFIXES
from varc.errors import InputError

Files = dict[str, bytes]  # by their names below the root
SIDE = 8


def made(write: Callable[[Path], object]) -> Files:
    """The files that a function writes into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_pictures_of_all_kinds(root: Path) -> None:
    """A picture of each suffix that is read, in folders of classes; more that are no pictures."""
    for i, suffix in enumerate(sorted(IMAGE_SUFFIXES)):
        (root / str(i % 10)).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        image = Image.fromarray(pixels).convert("L" if suffix == ".pgm" else "RGB")
        image.save(root / str(i % 10) / f"im{suffix}", "JPEG" if suffix in {".jfif", ".jpe"} else None)


def write_labelled(root: Path) -> None:
    write_pictures_of_all_kinds(root / "pictures")
    names = sorted(path.relative_to(root / "pictures").as_posix() for path in (root / "pictures").rglob("*.*"))
    (root / "labels.csv").write_text("".join(f"{name},{i % 10}\n" for i, name in enumerate(names)))


def write_objectnet(root: Path) -> None:
    write_pictures_of_all_kinds(root / "images")
    (root / "mappings").mkdir()
    (root / "mappings/folder_to_objectnet_label.json").write_text(
        "{" + ", ".join(f'"{i}": "Thing {i}"' for i in range(10)) + "}"
    )
    (root / "mappings/objectnet_to_imagenet_1k.json").write_text('{"Thing 1": "one, uno; two", "Thing 3": "three"}')


def write_parquets(root: Path) -> None:
    """One file with the columns of the hub, compressed, in several row groups."""
    metadata = {"huggingface": '{"info": {"features": {"label": {"names": ["zero", "one"], "_type": "ClassLabel"}}}}'}
    sources.write_parquet(root / "a.parquet", sources.structs(8), list(range(8)), metadata=metadata, row_group_size=3)


def write_plain_parquets(root: Path) -> None:
    """One without compression, with plain bytes and text labels."""
    images = [entry["bytes"] for entry in sources.structs(8)]
    sources.write_parquet(root / "a.parquet", images, list("01234567"), pa.binary(), compression="none")


def write_idx(suffix: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        sources.write_idx(root / f"t10k-images-idx3-ubyte{suffix}", np.arange(640).reshape(10, SIDE, SIDE) % 256)
        sources.write_idx(root / f"t10k-labels-idx1-ubyte{suffix}", np.arange(10))

    return write


NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLASSES = "folder,class_id,name\n" + "".join(f"{i},{i},{name}\n" for i, name in enumerate(NAMES))
SOURCES: dict[str, tuple[dict[str, str], list[Callable[[Path], object]]]] = {
    "idx": ({"split": "test"}, [write_idx(""), write_idx(".gz")]),
    "image_folder": ({}, [write_pictures_of_all_kinds]),
    "labels_file": ({"labels": "labels.csv", "root": "pictures"}, [write_labelled]),
    "objectnet": ({}, [write_objectnet]),
    "webdataset": ({}, [lambda root: sources.write_tar(root / "a.tar", sources.samples(8))]),
    "parquet": ({}, [write_parquets, write_plain_parquets]),
}


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def flip(content: bytes, rng: random.Random) -> bytes:
    """Some bytes, few or many, become others."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(changed)


def blank(content: bytes, rng: random.Random) -> bytes:
    """A stretch, perhaps up to the end, becomes zeros."""
    first = rng.randrange(len(content) + 1)
    last = len(content) if rng.random() < 0.3 else rng.randrange(first, len(content) + 1)
    return content[:first] + bytes(last - first) + content[last:]


def move(content: bytes, rng: random.Random) -> bytes:
    """A stretch is taken out, or stands twice."""
    first = rng.randrange(len(content) + 1)
    last = min(len(content), first + rng.choice((1, 16, 512, 4096)))
    return content[:first] + (content[first:last] * 2 if rng.random() < 0.5 else b"") + content[last:]


def header(content: bytes, rng: random.Random) -> bytes:
    """Damage where formats keep what they are."""
    return flip(content[:64], rng) + content[64:] if rng.random() < 0.5 else content[:-64] + flip(content[-64:], rng)


def other(content: bytes, rng: random.Random) -> bytes:
    """Something else altogether."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    return rng.choice(
        (
            b"",
            b"\0",
            pointer,
            b"<!DOCTYPE html><html>",
            rng.randbytes(2000),
            b"\xef\xbb\xbf",
            sources.picture(),
            b"\xff\xfe0\x001\x00",
        )
    )


DAMAGES = (cut, flip, flip, blank, move, header, other)


def damaged(files: Files, rng: random.Random) -> Files:
    """A copy of a source with one file damaged, rarely another way: renamed, or gone."""
    name = rng.choice(sorted(files))
    if rng.random() < 0.05:
        kept = {other: content for other, content in files.items() if other != name}
        renamed = rng.choice((f".{name}", f"{name}.bak", f"x/{name}"))
        return kept if rng.random() < 0.5 else {**kept, renamed: files[name]}
    return {**files, name: rng.choice(DAMAGES)(files[name], rng)}


def outcome(spec: dict[str, str]) -> str:
    """How a source is taken: "read", or "refused" by one line; any other exception goes through."""
    try:
        classes = data_set_classes(spec)
        listed, _ = manifest(spec, classes)
        load_images({**spec, "size": SIDE}, listed, SIDE)
    except InputError as error:
        message = str(error)
        assert "\n" not in message and message.isprintable(), message
        assert ":" in message and message.encode(), message
        return "refused"
    return "read"


def fuzz(reader: str, inputs: int, seed: int) -> Iterator[tuple[int, str]]:
    """How each of so many damaged inputs is taken. Raises AssertionError, with the seed, for the first traceback."""
    keys, writers = SOURCES[reader]
    whole = [made(writer) for writer in writers]
    for i in range(inputs):
        rng = random.Random(f"{seed} {reader} {i}")
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            root, list_file = Path(place) / "data", Path(place) / "classes.csv"
            text = CLASSES.encode()
            list_file.write_bytes(text if rng.random() > 0.02 else rng.choice(DAMAGES)(text, rng))
            for name, content in damaged(whole[i % len(whole)], rng).items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
            root.mkdir(exist_ok=True)
            below = {key: str(root / value) for key, value in keys.items() if key in {"labels", "root"}}
            spec = {"reader": reader, "root": str(root), "classes": str(list_file), **keys, **below}
            try:
                yield i, outcome(spec)
            except Exception as error:
                raise AssertionError(f"{reader}, input {i} of seed {seed}: {type(error).__name__}: {error}") from error
