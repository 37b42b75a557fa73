"""The manifest: which images a data set has, under which names and labels."""

import hashlib
from collections import Counter
from collections.abc import Generator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.data.check import opened, unreadable
from varc.data.classes import ClassEntry, folder_labels
from varc.data.found import Found, OpenImage, Spec, naming, printable
from varc.data.lists import nfc, read_list
from varc.data.preprocess import enlarged, preprocess, stack_images
from varc.data.readers import describe, list_images, open_images, open_in_threads
from varc.data.shifts import shifted
from varc.errors import InputError
from varc.prefetch import BATCHES_AHEAD, LOADERS, ahead


class Listed(NamedTuple):
    """One image of a data set: a row of its manifest."""

    image_id: str
    label: int
    path: str
    group: str | None = None


class LeftOut(NamedTuple):
    """What a source has, but the data set has not.

    path: the image_id, or what it would be. kind: "image" for one that the config leaves out, "unreadable" for one that
    cannot be decoded, "file" for what is taken for no image.
    """

    path: str
    kind: str
    reason: str


def manifest(spec: Spec, classes: list[ClassEntry], promised: int | None = None) -> tuple[list[Listed], list[LeftOut]]:
    """The images of a data set sorted by image_id, and what is left out of its source sorted by path.

    Labels follow from the class list. Left out are folders that are not in it (with `subset: true`, else they are an
    error), classes that ObjectNet does not map to ImageNet, images that `ids` does not name, all but `per_class`
    images of a class (those whose image_id has the smallest SHA-256 stay), files that are no images by their names, and
    with `skip_unreadable: true` pictures that cannot be decoded, for which it decodes all.
    promised: how many images the config says there are.

    Raises InputError for an empty data set, an image_id that occurs twice or is no Unicode, a folder that is not in
    the class list, an entry of ids that is no image, and another number of images than promised.
    """
    left_out: list[LeftOut] = []
    found = sorted(list_images(spec, lambda path, why: left_out.append(LeftOut(printable(path), "file", why))))
    check_unicode(found)
    for one, other in pairwise(found):
        if one.image_id == other.image_id:
            raise InputError(f"{describe(spec)}: two images are called {one.image_id!r}")
    labels = {nfc(folder): label for folder, label in folder_labels(spec, classes).items()}
    chosen = chosen_ids(spec, found)
    listed: list[Listed] = []
    for image in found:
        folder = nfc(image.folder)
        if folder not in labels and not spec.get("subset"):
            raise InputError(
                f"{image.path or image.image_id}: {image.folder!r} is not in the class list; add a row for it, or say "
                f"subset: true to leave out what the list does not name"
            )
        label = labels.get(folder)
        if label is None:
            left_out.append(LeftOut(image.image_id, "image", "not in the class list"))
        elif chosen is not None and nfc(image.image_id) not in chosen:
            left_out.append(LeftOut(image.image_id, "image", "not in ids"))
        else:
            listed.append(Listed(image.image_id, label, image.path, image.group))
    listed, beyond = first_per_class(listed, spec.get("per_class"))
    left_out += [LeftOut(image.image_id, "image", "beyond per_class") for image in beyond]
    check_promise(spec, listed, promised, classes)
    if spec.get("skip_unreadable"):
        skipped = dict(unreadable(spec, ((image.image_id, image.path) for image in listed)))
        left_out += [LeftOut(image_id, "unreadable", reason) for image_id, reason in skipped.items()]
        listed = [image for image in listed if image.image_id not in skipped]
    if not listed:
        raise InputError(f"{describe(spec)}: no images; expected at least one ({len(left_out)} left out)")
    return listed, sorted(left_out)


def check_promise(spec: Spec, listed: list[Listed], promised: int | None, classes: list[ClassEntry]) -> None:
    """Raises InputError where a data set has another number of images than its entry says."""
    if promised is None or promised == len(listed):
        return
    absent = empty_classes(listed, folder_labels(spec, classes))
    first = f"; {len(absent)} classes have none, first {absent[0]!r}" if absent else ""
    raise InputError(
        f"{describe(spec)}: images is {promised}, but {len(listed)} images are there{first}; find out what is missing "
        f"or too many, or set images to {len(listed)}"
    )


def first_enlarged(spec: Spec, listed: list[Listed]) -> str | None:
    """A warning where the first image of a data set is enlarged, and so loses its rim; None where it is not, or cannot
    be opened."""
    first = listed[0]
    try:
        image = opened(open_images(spec), spec, first.image_id, first.path)
    except InputError:  # found where all are checked
        return None
    found = enlarged(image, spec.get("size"), spec.get("resize"), spec.get("border", 0), spec.get("preprocess", "var"))
    return f"{first.image_id}: {found}" if found else None


def empty_classes(listed: list[Listed], labels: dict[str, int | None]) -> list[str]:
    """The folders of a class list whose class has no image, in order. labels: folder -> label, see folder_labels."""
    there = {image.label for image in listed}
    return sorted(folder for folder, label in labels.items() if label is not None and label not in there)


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
    chosen = {nfc(line) for line in read_list(spec["ids"], "the image ids", "ids")} - {""}
    unknown = sorted(chosen - {nfc(image.image_id) for image in found})
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


def load_images(spec: Spec, listed: list[Listed], side: int) -> NDArray[np.uint8]:
    """The preprocessed images (N, side, side, 3) of some rows of a manifest, under the data set's shift.

    Raises InputError for an image that cannot be read, or has another size.
    """
    return opened_images(open_images(spec), spec, listed, side)


def image_batches(
    spec: Spec, listed: list[Listed], side: int, batch_size: int
) -> Generator[NDArray[np.uint8], None, None]:
    """The images of load_images in batches (B, side, side, 3), loaded by threads ahead of who takes them.

    At most BATCHES_AHEAD batches lie ready or are being loaded. Raises what load_images does, at its batch.
    """
    opener = open_in_threads(spec)

    def load(part: list[Listed]) -> NDArray[np.uint8]:
        return opened_images(opener(), spec, part, side)

    return ahead(load, (listed[i : i + batch_size] for i in range(0, len(listed), batch_size)), LOADERS, BATCHES_AHEAD)


def opened_images(open_image: OpenImage, spec: Spec, listed: list[Listed], side: int) -> NDArray[np.uint8]:
    """The images of load_images, by what opens one."""
    border, how, images = spec.get("border", 0), spec.get("preprocess", "var"), []
    for row in listed:
        image = opened(open_image, spec, row.image_id, row.path)
        with naming(row.image_id, "cannot be prepared for the model", "replace it, or take it away", b""):
            images.append(preprocess(image, spec.get("size"), spec.get("resize"), border, how))
    image_ids = [row.image_id for row in listed]
    stacked = stack_images(images, side, image_ids)
    return shifted(stacked, image_ids, **spec["shift"]) if "shift" in spec else stacked


def columns(listed: list[Listed]) -> dict[str, list[Any]]:
    """The manifest's Parquet columns; the inverse of rows."""
    return {name: [getattr(row, name) for row in listed] for name in Listed._fields}


def rows(table: Any) -> list[Listed]:
    """The rows of a manifest's Parquet table; manifests of earlier versions have no groups."""
    names = [name for name in Listed._fields if name in table.column_names]
    return [Listed(*values) for values in zip(*(table[name].to_pylist() for name in names), strict=True)]
