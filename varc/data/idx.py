"""Images that are numbered: scikit-learn's digits, and the idx files of MNIST's family."""

import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from varc.bounded import check_file
from varc.data.found import Found, OpenImage, PassOver, Spec, forget, index_in, naming
from varc.data.splits import FRACTIONS, SPLITS, stratified_splits
from varc.errors import InputError

IDX_FRACTIONS = {"validation": 1 / 12, "calibration": 1 / 12}
LARGEST_IDX = 2**30  # bytes of pixels; EMNIST's largest file takes 2/3
IDX_FILES = {"train": "train", "test": "t10k"}


def in_split(source: str, labels: NDArray[Any], fractions: dict[str, float], split: str) -> list[int]:
    """The indices of a split, for a source whose images are numbered."""
    keys = [f"{source}:{i}" for i in range(len(labels))]
    splits = stratified_splits(keys, labels.tolist(), fractions)
    return [i for i, own in enumerate(splits) if own == split]


def list_digits(spec: Spec, pass_over: PassOver = forget) -> Iterator[Found]:
    """scikit-learn's 1,797 handwritten digits, 8x8: 973 to train, 185 validation, 185 calibration, 454 test."""
    from sklearn.datasets import load_digits

    labels = load_digits().target
    for i in in_split("digits", labels, FRACTIONS, spec["split"]):
        yield Found(f"digits:{i}", str(labels[i]), "")


def open_digits(spec: Spec) -> OpenImage:
    """Grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    pixels = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    return lambda found: Image.fromarray(pixels[index_in(found.image_id)])


def list_idx(spec: Spec, pass_over: PassOver = forget) -> Iterator[Found]:
    """The idx files of MNIST's family: test images are the t10k files; the others divide the train files.

    The folder is the number in the labels file. Both files are read whole, so that a damaged one is found here.
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
    """The array of an idx file of unsigned bytes (format: yann.lecun.com/exdb/mnist). Raises InputError for another."""
    with naming(path, "cannot be read as an idx file", "download it again"):
        check_file(path)
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != bytes([0, 0, 8, dimensions]) or len(header) < 4 + 4 * dimensions:
                raise ValueError(f"not an idx file of unsigned bytes in {dimensions} dimensions")
            shape = [int(n) for n in np.frombuffer(header[4:], ">u4")]
            promised = math.prod(shape)
            if promised > LARGEST_IDX:
                raise ValueError(f"its header says {promised} bytes, more than the {LARGEST_IDX} that are read")
            data = file.read(promised + 1)  # a gzip may hold a thousand times its size
        if len(data) != promised:
            found = "more bytes" if len(data) > promised else f"{len(data)} bytes"
            raise ValueError(f"holds {found}, its header says {promised}; truncated?")
        if len(shape) > 1 and shape[0] and not promised:
            raise ValueError(f"images of {shape[2]} x {shape[1]} pixels")
        return np.frombuffer(data, np.uint8).reshape(shape)
