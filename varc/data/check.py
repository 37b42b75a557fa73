"""Whether pictures can be decoded, before a job on a GPU finds out."""

from collections.abc import Iterable
from typing import NamedTuple

from PIL import Image

from varc.data.found import Found, OpenImage, Spec
from varc.data.readers import open_in_threads
from varc.errors import InputError
from varc.prefetch import BATCHES_AHEAD, LOADERS, ahead

AT_ONCE = 64  # images per call of a thread


class Unreadable(NamedTuple):
    """An image that cannot be decoded, and what is wrong with it."""

    image_id: str
    reason: str


def unreadable(spec: Spec, images: Iterable[tuple[str, str]]) -> list[Unreadable]:
    """Those of some images (image_id, path) of a data set that cannot be used, in order; see opened. Decodes
    them all, in threads."""
    opener, listed = open_in_threads(spec), list(images)

    def checked(part: list[tuple[str, str]]) -> list[Unreadable]:
        open_image = opener()
        found = ((image_id, fault(open_image, spec, image_id, path)) for image_id, path in part)
        return [Unreadable(image_id, wrong) for image_id, wrong in found if wrong]

    parts = (listed[i : i + AT_ONCE] for i in range(0, len(listed), AT_ONCE))
    return [found for part in ahead(checked, parts, LOADERS, BATCHES_AHEAD) for found in part]


def fault(open_image: OpenImage, spec: Spec, image_id: str, path: str) -> str | None:
    """What is wrong with an image, None where nothing is."""
    try:
        opened(open_image, spec, image_id, path)
    except InputError as error:
        return str(error)
    return None


def opened(open_image: OpenImage, spec: Spec, image_id: str, path: str) -> Image.Image:
    """An image. Raises InputError where it cannot be decoded, `border` leaves nothing of it, or with `resize: none` it
    is smaller than `size`."""
    image, border = open_image(Found(image_id, "", path)), spec.get("border", 0)
    if 2 * border >= min(image.size):
        found = f"{image.width}x{image.height} pixels, of which border {border} leaves none"
        raise InputError(f"{image_id}: {found}; set a smaller border for the data set")
    if spec.get("resize") == "none" and min(image.size) - 2 * border < spec["size"]:
        found = f"{image.width}x{image.height} pixels, less than size {spec['size']}, and resize is none"
        raise InputError(f"{image_id}: {found}; leave resize out for the data set, or the image")
    return image


def check_all(dataset: str, images: int, found: list[Unreadable]) -> None:
    """Raises InputError where some images of a data set are unreadable, naming every one."""
    if found:
        raise InputError(
            f"{dataset}: {len(found)} of {images} images cannot be read: {'; '.join(one.reason for one in found)}. Or "
            f"say skip_unreadable: true, to leave out what cannot be read"
        )
