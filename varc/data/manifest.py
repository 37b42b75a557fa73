"""The manifest: which images a data set has, under which names and labels."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varc.data.classes import ClassEntry
from varc.data.preprocess import preprocess, stack_images
from varc.data.readers import READERS, Listed, Spec
from varc.errors import InputError


def manifest(spec: Spec, classes: list[ClassEntry]) -> list[Listed]:
    """All images of a data set, sorted by image_id.

    Raises InputError for an empty data set, and for an image_id that occurs twice.
    """
    listed = sorted(READERS[spec["reader"]].list_images(spec, classes))
    if not listed:
        raise InputError(f"{describe(spec)}: no images; expected at least one")
    for one, other in pairwise(listed):
        if one.image_id == other.image_id:
            raise InputError(f"{describe(spec)}: two images are called {one.image_id!r}")
    return listed


def describe(spec: Spec) -> str:
    """The data set in words for a message: its reader, root and split."""
    return ", ".join(f"{key} {spec[key]}" for key in ("reader", "root", "split") if key in spec)


def load_images(spec: Spec, listed: list[Listed], side: int) -> NDArray[np.uint8]:
    """The preprocessed images (N, side, side, 3) of some rows of a manifest."""
    open_image = READERS[spec["reader"]].open_images(spec)
    images = [preprocess(open_image(row), spec.get("size"), spec.get("resize")) for row in listed]
    return stack_images(images, side, [row.image_id for row in listed])


def columns(listed: list[Listed]) -> dict[str, list[Any]]:
    """The manifest's Parquet columns; the inverse of rows."""
    return {name: [getattr(row, name) for row in listed] for name in Listed._fields}


def rows(table: Any) -> list[Listed]:
    """The rows of a manifest's Parquet table."""
    return [Listed(*values) for values in zip(*(table[name].to_pylist() for name in Listed._fields), strict=True)]
