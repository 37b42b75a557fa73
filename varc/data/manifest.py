"""The manifest: which images a data set has, under which names and labels."""

import hashlib
import threading
from collections import Counter
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.data.classes import ClassEntry, folder_labels
from varc.data.preprocess import preprocess, stack_images
from varc.data.readers import READERS, Found, OpenImage, Spec
from varc.data.shifts import shifted
from varc.errors import InputError
from varc.prefetch import BATCHES_AHEAD, LOADERS, ahead


class Listed(NamedTuple):
    """One image of a data set: a row of its manifest."""

    image_id: str
    label: int
    path: str


class LeftOut(NamedTuple):
    """An image that the source has, but the data set has not, and why."""

    image_id: str
    folder: str
    reason: str


def manifest(spec: Spec, classes: list[ClassEntry]) -> tuple[list[Listed], list[LeftOut]]:
    """The images of a data set, and those of its source that are left out, both sorted by image_id.

    Labels follow from the class list. Left out are folders that are not in it (with `subset: true`, else they are an
    error), classes that ObjectNet does not map to ImageNet, images that `ids` does not name, and all but `per_class`
    images of a class: those whose image_id has the smallest SHA-256 stay.

    Raises InputError for an empty data set, an image_id that occurs twice or is no Unicode, a folder that is not in
    the class list, and an entry of ids that is no image.
    """
    found = sorted(READERS[spec["reader"]].list_images(spec))
    check_unicode(found)
    for one, other in pairwise(found):
        if one.image_id == other.image_id:
            raise InputError(f"{describe(spec)}: two images are called {one.image_id!r}")
    labels = folder_labels(spec, classes)
    chosen = chosen_ids(spec, found)
    listed: list[Listed] = []
    left_out: list[LeftOut] = []
    for image in found:
        if image.folder not in labels and not spec.get("subset"):
            raise InputError(
                f"{image.path or image.image_id}: {image.folder!r} is not in the class list; add a row for it, or say "
                f"subset: true to leave out what the list does not name"
            )
        label = labels.get(image.folder)
        if label is None:
            left_out.append(LeftOut(image.image_id, image.folder, "not in the class list"))
        elif chosen is not None and image.image_id not in chosen:
            left_out.append(LeftOut(image.image_id, image.folder, "not in ids"))
        else:
            listed.append(Listed(image.image_id, label, image.path))
    listed, beyond = first_per_class(listed, spec.get("per_class"))
    folders = {image.image_id: image.folder for image in found}
    left_out += [LeftOut(image.image_id, folders[image.image_id], "beyond per_class") for image in beyond]
    if not listed:
        raise InputError(f"{describe(spec)}: no images; expected at least one ({len(left_out)} left out)")
    return listed, sorted(left_out)


def check_unicode(found: list[Found]) -> None:
    """Raises InputError for a name of bytes that are not UTF-8, which neither Parquet nor a class list could hold."""
    for image in found:
        try:
            f"{image.image_id}{image.path}".encode()
        except UnicodeEncodeError:
            name = (image.path or image.image_id).encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise InputError(f"{name}: its name is not UTF-8; rename it") from None


def chosen_ids(spec: Spec, found: list[Found]) -> set[str] | None:
    """The image_ids in the file `ids`, one a line; None without it. Raises InputError for one that is no image."""
    if "ids" not in spec:
        return None
    try:
        chosen = set(Path(spec["ids"]).read_text(encoding="utf-8").split("\n")) - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{spec['ids']}: the image ids cannot be read ({error}); set ids to the file") from None
    unknown = sorted(chosen - {image.image_id for image in found})
    if unknown:
        raise InputError(f"{spec['ids']}: {len(unknown)} of {len(chosen)} ids are no image, first {unknown[0]!r}")
    return chosen


def first_per_class(listed: list[Listed], per_class: int | None) -> tuple[list[Listed], list[Listed]]:
    """At most `per_class` images of each label, by the SHA-256 of their image_id, and the others; orders are kept."""
    if per_class is None:
        return listed, []
    by_hash = sorted(listed, key=lambda image: hashlib.sha256(image.image_id.encode()).digest())
    taken: Counter[int] = Counter()
    first = set()
    for image in by_hash:
        taken[image.label] += 1
        if taken[image.label] <= per_class:
            first.add(image.image_id)
    return [i for i in listed if i.image_id in first], [i for i in listed if i.image_id not in first]


def describe(spec: Spec) -> str:
    """The data set in words for a message: its reader, root and split."""
    return ", ".join(f"{key} {spec[key]}" for key in ("reader", "root", "split") if key in spec)


def load_images(spec: Spec, listed: list[Listed], side: int) -> NDArray[np.uint8]:
    """The preprocessed images (N, side, side, 3) of some rows of a manifest, under the data set's shift.

    Raises InputError for an image that cannot be read, or has another size.
    """
    return opened_images(READERS[spec["reader"]].open_images(spec), spec, listed, side)


def image_batches(
    spec: Spec, listed: list[Listed], side: int, batch_size: int
) -> Generator[NDArray[np.uint8], None, None]:
    """The images of load_images in batches (B, side, side, 3), loaded by threads ahead of who takes them.

    At most BATCHES_AHEAD batches lie ready or are being loaded. Raises what load_images does, at its batch.
    """
    own, lock = threading.local(), threading.Lock()

    def load(part: list[Listed]) -> NDArray[np.uint8]:
        if not hasattr(own, "open_image"):  # each thread's own, since an open tar or Parquet file has one position
            with lock:  # readers import libraries here
                own.open_image = READERS[spec["reader"]].open_images(spec)
        return opened_images(own.open_image, spec, part, side)

    return ahead(load, (listed[i : i + batch_size] for i in range(0, len(listed), batch_size)), LOADERS, BATCHES_AHEAD)


def opened_images(open_image: OpenImage, spec: Spec, listed: list[Listed], side: int) -> NDArray[np.uint8]:
    """The images of load_images, by what opens one."""
    border, images = spec.get("border", 0), []
    for row in listed:
        image = open_image(Found(row.image_id, "", row.path))
        if 2 * border >= min(image.size):
            found = f"{image.width}x{image.height} pixels, of which border {border} leaves none"
            raise InputError(f"{row.image_id}: {found}; set a smaller border for the data set")
        images.append(preprocess(image, spec.get("size"), spec.get("resize"), border))
    image_ids = [row.image_id for row in listed]
    stacked = stack_images(images, side, image_ids)
    return shifted(stacked, image_ids, **spec["shift"]) if "shift" in spec else stacked


def columns(listed: list[Listed]) -> dict[str, list[Any]]:
    """The manifest's Parquet columns; the inverse of rows."""
    return {name: [getattr(row, name) for row in listed] for name in Listed._fields}


def rows(table: Any) -> list[Listed]:
    """The rows of a manifest's Parquet table."""
    return [Listed(*values) for values in zip(*(table[name].to_pylist() for name in Listed._fields), strict=True)]
