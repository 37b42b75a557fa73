"""Readers: where the images of a data set come from.

A reader is two functions of the data set's config entry: one lists the images with the folder (or what stands for
it) that tells their class, the other returns a function that opens one of them. A new source needs one entry in
READERS. Labels are not their business: see varc/data/manifest.py.
"""

import bisect
import functools
import gzip
import io
import itertools
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from varc.data.splits import SPLITS, stratified_splits
from varc.errors import InputError

Spec = dict[str, Any]  # a data set's entry in the config
OpenImage = Callable[["Found"], Image.Image]

DIGITS_FRACTIONS = {"test": 0.25, "validation": 0.1, "calibration": 0.1}
IDX_FRACTIONS = {"validation": 1 / 12, "calibration": 1 / 12}
IDX_FILES = {"train": "train", "test": "t10k"}
IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class Found(NamedTuple):
    """An image as its source has it: a stable name, what tells its class, and the file that it lies in."""

    image_id: str
    folder: str
    path: str


class Reader(NamedTuple):
    """list_images(spec) yields every image; open_images(spec) returns what opens one by its image_id and path."""

    list_images: Callable[[Spec], Iterator[Found]]
    open_images: Callable[[Spec], OpenImage]


def in_split(source: str, labels: NDArray[Any], fractions: dict[str, float], split: str) -> list[int]:
    """The indices of a split, for a source whose images are numbered."""
    keys = [f"{source}:{i}" for i in range(len(labels))]
    splits = stratified_splits(keys, labels.tolist(), fractions)
    return [i for i, own in enumerate(splits) if own == split]


def list_digits(spec: Spec) -> Iterator[Found]:
    """scikit-learn's 1,797 handwritten digits, 8x8: 973 to train, 185 validation, 185 calibration, 454 test."""
    from sklearn.datasets import load_digits

    labels = load_digits().target
    for i in in_split("digits", labels, DIGITS_FRACTIONS, spec["split"]):
        yield Found(f"digits:{i}", str(labels[i]), "")


def open_digits(spec: Spec) -> OpenImage:
    """Grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    pixels = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    return lambda found: Image.fromarray(pixels[index_in(found.image_id)])


def list_idx(spec: Spec) -> Iterator[Found]:
    """The idx files of MNIST's family: test images are the t10k files; the others divide the train files.

    The folder is the number in the labels file.
    """
    images_path, labels_path = idx_paths(spec)
    labels = read_idx(labels_path, 1)
    images = len(read_idx(images_path, 3))
    if images != len(labels):
        raise InputError(f"{labels_path}: {len(labels)} labels, but {images_path.name} holds {images} images")
    source = images_path.name
    split = spec["split"]
    indices = list(range(len(labels))) if split == "test" else in_split(source, labels, IDX_FRACTIONS, split)
    for i in indices:
        yield Found(f"{source}:{i}", str(labels[i]), images_path.as_posix())


def open_idx(spec: Spec) -> OpenImage:
    """8-bit grey images of the file that the split comes from."""
    pixels = read_idx(idx_paths(spec)[0], 3)
    return lambda found: Image.fromarray(pixels[index_in(found.image_id)])


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


def pictures(root: Path) -> Iterator[Path]:
    """The picture files below a folder, in order. Hidden files and those with another suffix are passed over."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set root to the folder that holds the pictures")
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent) / name
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield path


def list_image_folder(spec: Spec) -> Iterator[Found]:
    """root/<folder>/...: one folder per class. A picture that lies in no folder has the folder "."."""
    for path in pictures(Path(spec["root"])):
        image_id = path.relative_to(spec["root"])
        yield Found(image_id.as_posix(), image_id.parts[0] if len(image_id.parts) > 1 else ".", path.as_posix())


def list_objectnet(spec: Spec) -> Iterator[Found]:
    """ObjectNet as it is published: root/images/<folder>/..., see varc.data.classes.objectnet_classes."""
    return list_image_folder({**spec, "root": str(Path(spec["root"]) / "images")})


def list_labels_file(spec: Spec) -> Iterator[Found]:
    """Pictures anywhere below root, with a text file that says for each the folder of its class.

    Its lines hold a file name (with or without suffix) and a folder, divided by a comma, a tab or a blank; what follows
    the folder is passed over, so ImageNet's LOC_val_solution.csv can be given as it is. Raises InputError for a picture
    that the file does not name.
    """
    folder_of = {}
    try:
        lines = Path(spec["labels"]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{spec['labels']}: the labels cannot be read ({error}); set labels to the file") from None
    for line in lines:
        file, _, rest = line.strip().partition("," if "," in line else "\t" if "\t" in line else " ")
        folder_of[file] = "".join(rest.split()[:1])
    for path in pictures(Path(spec["root"])):
        image_id = path.relative_to(spec["root"]).as_posix()
        name = next((name for name in (image_id, path.name, path.stem) if name in folder_of), None)
        if name is None:
            raise InputError(f"{spec['labels']}: has no line for {image_id}; add one, or take the picture away")
        yield Found(image_id, folder_of[name], path.as_posix())


def open_pictures(spec: Spec) -> OpenImage:
    """Picture files, decoded by Pillow."""
    return lambda found: decoded(found.path, found.path)


def decoded(source: str | io.BytesIO, name: str) -> Image.Image:
    """A picture from a path or from its bytes. Raises InputError where it cannot be decoded."""
    try:
        with Image.open(source) as image:
            image.load()
            return image
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InputError(f"{name}: unreadable image ({error}); replace it, or take it away") from None


def files_below(spec: Spec, suffix: str) -> list[Path]:
    """The files of one kind in root. Raises InputError where there is none."""
    found = sorted(Path(spec["root"]).glob(f"*{suffix}"))
    if not found:
        raise InputError(f"{spec['root']}: no *{suffix} files; set root to the folder that holds them")
    return found


def list_webdataset(spec: Spec) -> Iterator[Found]:
    """root/*.tar in the format of webdataset: of each sample a picture and <key>.cls, whose text is the folder."""
    for path in files_below(spec, ".tar"):
        with opened_tar(path) as tar:
            classes, images = {}, []
            for member in tar.getmembers():
                key, _, suffix = member.name.rpartition(".")
                if suffix == "cls":
                    classes[key] = tar.extractfile(member).read().decode().strip()  # type: ignore[union-attr]
                elif f".{suffix.lower()}" in IMAGE_SUFFIXES:
                    images.append((key, member.name))
        for key, name in images:
            if key not in classes:
                raise InputError(f"{path}: {name} has no {key}.cls beside it; make the tar again")
            yield Found(f"{path.name}:{name}", classes[key], path.as_posix())


def opened_tar(path: str | Path) -> tarfile.TarFile:
    """An uncompressed tar. Raises InputError where it is unreadable."""
    try:
        return tarfile.open(path, "r:")
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path}: cannot be read as a tar ({error}); download it again") from None


def open_webdataset(spec: Spec) -> OpenImage:
    """Members of the tars; the last tar stays open, since neighbours come from the same one."""
    opened = functools.lru_cache(maxsize=1)(opened_tar)

    def open_image(found: Found) -> Image.Image:
        member = opened(found.path).extractfile(found.image_id.partition(":")[2])
        return decoded(io.BytesIO(member.read() if member else b""), found.image_id)

    return open_image


def list_parquet(spec: Spec) -> Iterator[Found]:
    """root/*.parquet as Hugging Face ships image data sets: columns image (bytes, path) and label, the folder."""
    for path in files_below(spec, ".parquet"):
        table = hub_table(path, ["label"])
        for i, label in enumerate(table["label"].to_pylist()):
            yield Found(f"{path.name}:{i:06d}", str(label), path.as_posix())


def hub_table(path: Path, columns: list[str]) -> Any:
    """Columns of a Parquet file. Raises InputError where it is unreadable or lacks one."""
    try:
        return pq.ParquetFile(path).read(columns)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error}); download it again") from None


def open_parquet(spec: Spec) -> OpenImage:
    """Rows of the files; one row group is kept, since neighbours come from the same one."""

    @functools.lru_cache(maxsize=1)
    def row_group(path: str, group: int) -> Any:
        return pq.ParquetFile(path).read_row_group(group, ["image"])["image"].to_pylist()

    @functools.lru_cache(maxsize=1)
    def starts(path: str) -> list[int]:
        metadata = pq.ParquetFile(path).metadata
        return [0, *itertools.accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))]

    def open_image(found: Found) -> Image.Image:
        row = index_in(found.image_id)
        group = bisect.bisect_right(starts(found.path), row) - 1
        content = row_group(found.path, group)[row - starts(found.path)[group]]["bytes"]
        return decoded(io.BytesIO(content), found.image_id)

    return open_image


def index_in(image_id: str) -> int:
    """The index in "source:index"."""
    return int(image_id.rpartition(":")[2])


READERS = {
    "digits": Reader(list_digits, open_digits),
    "idx": Reader(list_idx, open_idx),
    "image_folder": Reader(list_image_folder, open_pictures),
    "labels_file": Reader(list_labels_file, open_pictures),
    "objectnet": Reader(list_objectnet, open_pictures),
    "webdataset": Reader(list_webdataset, open_webdataset),
    "parquet": Reader(list_parquet, open_parquet),
}
