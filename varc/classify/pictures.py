"""The pictures that a user gives, of any kind, and which images of a run they are."""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from varc.data.decode import check_levels, decoded
from varc.data.found import Found, OpenImage, Spec, naming
from varc.data.manifest import Listed, rows
from varc.data.readers import open_in_threads
from varc.errors import InputError, brief
from varc.storage import read_parquet

OneImage = str | Path | Image.Image | NDArray[np.uint8]
AnyImages = OneImage | Sequence[OneImage]
FILES = {"image_folder": ".", "labels_file": ".", "objectnet": "images"}  # reader -> below root: what ids are below
DEFAULT_ID = "sha256:"


class Picture(NamedTuple):
    """A picture to be opened. name: in messages; image_id: None where nothing tells it."""

    name: str
    image_id: str | None
    open: Callable[[], Image.Image]


class Images(NamedTuple):
    """A data set of a run: its entry, with paths that can be opened, and its manifest. project: what the manifest's
    paths are relative to."""

    spec: Spec
    manifest: Path
    project: Path

    def id_of(self, path: str | Path) -> str | None:
        """The image_id that a picture file has in the data set; None where it does not lie below its root."""
        if self.spec["reader"] not in FILES:
            return None
        root = os.path.join(self.spec["root"], FILES[self.spec["reader"]])
        for plain in (os.path.abspath, os.path.realpath):  # links below a root are the run's own
            below = os.path.relpath(plain(path), plain(root))
            if below.split(os.sep)[0] != os.pardir:
                return Path(below).as_posix()
        return None

    def listed(self) -> dict[str, Listed]:
        """Its images by their image_ids; none where it has no manifest yet."""
        return {row.image_id: row for row in rows(read_parquet(self.manifest))} if self.manifest.exists() else {}

    def found(self, row: Listed) -> Found:
        """A row of the manifest as what opens images takes it."""
        return Found(row.image_id, "", os.path.join(self.project, row.path) if row.path else row.path)


def default_id(pixels: NDArray[np.uint8]) -> str:
    """The image_id of a picture that is no run's: a digest of its pixels as the model takes them, so that the same
    picture gets the same noise."""
    return DEFAULT_ID + hashlib.sha256(pixels.tobytes()).hexdigest()[:16]


def pictures(images: AnyImages, ids: Sequence[str] | None, known: Sequence[Images] = ()) -> list[Picture]:
    """The pictures, in their order: one, or several.

    images: paths; PIL pictures; uint8 arrays (H, W), (H, W, 3) or (H, W, 4), several also as (N, H, W, 3). A text that
    is no file may be the image_id of an image in the data sets known. ids: of each, in place of what its path tells.
    Raises InputError for what is none of these, and for another number of ids.
    """
    given = as_list(images)
    listed = cache(partial(of_run, known))
    if isinstance(ids, str):
        ids = [ids]
    if ids is not None and len(ids) != len(given):
        raise InputError(f"ids: {len(ids)} for {len(given)} images; give one for each")
    found = [picture(image, i, known, listed) for i, image in enumerate(given)]
    return found if ids is None else [one._replace(image_id=image_id) for one, image_id in zip(found, ids, strict=True)]


def as_list(images: AnyImages) -> list[Any]:
    """The images one by one."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | Path | Image.Image):
        return [images]
    try:
        return list(images)
    except TypeError:
        raise InputError(f"images: {brief(images)}: expected paths, PIL pictures or arrays") from None


def of_run(known: Sequence[Images]) -> dict[str, Callable[[], Image.Image]]:
    """What opens each image of some data sets, by its image_id; of the first one that has it."""
    found: dict[str, Callable[[], Image.Image]] = {}
    for source in known:
        opener = open_in_threads(source.spec)
        for image_id, row in source.listed().items():
            found.setdefault(image_id, partial(open_found, opener, source.found(row)))
    return found


def open_found(opener: Callable[[], OpenImage], found: Found) -> Image.Image:
    """An image of a data set. opener: gives each thread what opens one."""
    return opener()(found)


def picture(
    image: Any, number: int, known: Sequence[Images], listed: Callable[[], dict[str, Callable[[], Image.Image]]]
) -> Picture:
    """One of them. number: its position; listed: what of_run says, asked where a path leads nowhere."""
    if isinstance(image, Image.Image):
        return Picture(f"image {number}", None, partial(loaded, image, f"image {number}"))
    if isinstance(image, np.ndarray):
        return Picture(f"image {number}", None, partial(from_array, image, f"image {number}"))
    if not isinstance(image, str | Path):
        raise InputError(f"image {number}: {brief(image)}: expected a path, a PIL picture or an array")
    if os.path.exists(image):
        image_id = next((found for source in known if (found := source.id_of(image)) is not None), None)
        return Picture(str(image), image_id, partial(decoded, str(image), str(image)))
    if opens := listed().get(str(image)):
        return Picture(str(image), str(image), opens)
    also = ", nor an image_id of the run's data sets" if known else ""
    raise InputError(f"{image}: no such file{also}; give the path of a picture")


def loaded(image: Image.Image, name: str) -> Image.Image:
    """A picture that Pillow may not have decoded yet. Raises InputError as varc.data.decode.decoded does."""
    with naming(name, "unreadable image", "give another", b""):
        image.load()
        check_levels(image, name)
    return image


def from_array(image: NDArray[Any], name: str) -> Image.Image:
    """A picture from an array. Raises InputError for another shape or type."""
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        found = f"an array of {image.dtype} in the shape {image.shape}"
        raise InputError(f"{name}: {found}; expected uint8, (height, width) or (height, width, 3 or 4), 0 to 255")
    if not image.size:
        raise InputError(f"{name}: an array in the shape {image.shape} has no pixels")
    return Image.fromarray(np.ascontiguousarray(image))
