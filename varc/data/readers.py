"""Readers: where the images of a data set come from.

A reader is two functions of the data set's config entry: one lists the images with their labels, the other returns a
function that opens one of them. A new source needs one entry in READERS.
"""

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from varc.data.classes import ClassEntry
from varc.data.splits import SPLITS, stratified_splits
from varc.errors import InputError

Spec = dict[str, Any]  # a data set's entry in the config
OpenImage = Callable[["Listed"], Image.Image]

DIGITS_FRACTIONS = {"test": 0.25, "validation": 0.1, "calibration": 0.1}
IDX_FRACTIONS = {"validation": 1 / 12, "calibration": 1 / 12}
IDX_FILES = {"train": "train", "test": "t10k"}
IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class Listed(NamedTuple):
    """One image of a data set: a row of its manifest."""

    image_id: str
    label: int
    path: str


class Reader(NamedTuple):
    """list_images(spec, classes) yields every image; open_images(spec) returns what opens one."""

    list_images: Callable[[Spec, list[ClassEntry]], Iterator[Listed]]
    open_images: Callable[[Spec], OpenImage]


def in_split(source: str, labels: NDArray[Any], fractions: dict[str, float], split: str) -> list[int]:
    """The indices of a split, for a source whose images are numbered."""
    keys = [f"{source}:{i}" for i in range(len(labels))]
    splits = stratified_splits(keys, labels.tolist(), fractions)
    return [i for i, own in enumerate(splits) if own == split]


def list_digits(spec: Spec, classes: list[ClassEntry]) -> Iterator[Listed]:
    """scikit-learn's 1,797 handwritten digits, 8x8: 973 to train, 185 validation, 185 calibration, 454 test."""
    from sklearn.datasets import load_digits

    labels = load_digits().target
    known = {entry.folder: entry.class_id for entry in classes}
    for i in in_split("digits", labels, DIGITS_FRACTIONS, spec["split"]):
        yield Listed(f"digits:{i}", class_of(str(labels[i]), known, f"digits:{i}"), "")


def open_digits(spec: Spec) -> OpenImage:
    """Grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    pixels = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    return lambda listed: Image.fromarray(pixels[numbered(listed.image_id)])


def list_idx(spec: Spec, classes: list[ClassEntry]) -> Iterator[Listed]:
    """The idx files of MNIST's family: test images are the t10k files; the others divide the train files.

    "folder" in the class list is the number in the labels file.
    """
    images_path, labels_path = idx_paths(spec)
    labels = read_idx(labels_path, 1)
    images = len(read_idx(images_path, 3))
    if images != len(labels):
        raise InputError(f"{labels_path}: {len(labels)} labels, but {images_path.name} holds {images} images")
    source = images_path.name
    split = spec["split"]
    indices = list(range(len(labels))) if split == "test" else in_split(source, labels, IDX_FRACTIONS, split)
    known = {entry.folder: entry.class_id for entry in classes}
    for i in indices:
        yield Listed(f"{source}:{i}", class_of(str(labels[i]), known, labels_path), images_path.as_posix())


def open_idx(spec: Spec) -> OpenImage:
    """8-bit grey images of the file that the split comes from."""
    pixels = read_idx(idx_paths(spec)[0], 3)
    return lambda listed: Image.fromarray(pixels[numbered(listed.image_id)])


def idx_paths(spec: Spec) -> tuple[Path, Path]:
    """The image and the label file of a split, with or without .gz."""
    if spec["split"] not in SPLITS:
        raise InputError(f"split: {spec['split']!r}, expected one of {', '.join(SPLITS)}")
    prefix = IDX_FILES.get(spec["split"], "train")
    found = []
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        names = [Path(spec["root"]) / f"{prefix}-{kind}{suffix}" for suffix in (".gz", "")]
        existing = [name for name in names if name.is_file()]
        if not existing:
            raise InputError(f"{names[0]}: no such file (nor without .gz); set root to the folder of the idx files")
        found.append(existing[0])
    return found[0], found[1]


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes (format: yann.lecun.com/exdb/mnist)."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an idx file ({error})") from None
    header = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) < header:
        raise InputError(f"{path}: not an idx file of unsigned bytes in {dimensions} dimensions")
    shape = np.frombuffer(data[4:header], ">u4").astype(int)
    if len(data) - header != shape.prod():
        raise InputError(f"{path}: holds {len(data) - header} bytes, its header says {shape.prod()}; truncated?")
    return np.frombuffer(data[header:], np.uint8).reshape(shape)


def list_image_folder(spec: Spec, classes: list[ClassEntry]) -> Iterator[Listed]:
    """root/<folder>/...: one folder per class, as the class list says. Files with no image suffix are passed over."""
    root = Path(spec["root"])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set root to the folder that holds the class folders")
    known = {entry.folder: entry.class_id for entry in classes}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        label = class_of(folder.name, known, folder)
        for parent, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted(files):
                path = Path(parent) / name
                if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                    yield Listed(path.relative_to(root).as_posix(), label, path.as_posix())


def open_image_folder(spec: Spec) -> OpenImage:
    """The picture files, decoded by Pillow."""

    def open_image(listed: Listed) -> Image.Image:
        try:
            with Image.open(listed.path) as image:
                image.load()
                return image
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
            raise InputError(f"{listed.path}: unreadable image ({error}); replace it, or take it away") from None

    return open_image


def class_of(folder: str, known: dict[str, int], where: object) -> int:
    """The class_id of a folder. Raises InputError where the class list does not have it."""
    if folder not in known:
        raise InputError(f"{where}: {folder!r} is not in the class list; add a row for it, or take it away")
    return known[folder]


def numbered(image_id: str) -> int:
    """The index in "source:index"."""
    return int(PurePosixPath(image_id).name.rpartition(":")[2])


READERS = {
    "digits": Reader(list_digits, open_digits),
    "idx": Reader(list_idx, open_idx),
    "image_folder": Reader(list_image_folder, open_image_folder),
}
