"""From a picture to the pixels that a model sees."""

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from varc.data.crop import BICUBIC, BILINEAR, LANCZOS, resized_crop
from varc.errors import InputError

LONG = 5  # times the shorter side: beyond, what the crop cuts away costs most

Resize = int | Literal["none"] | None
How = Literal["var", "adm", "imagenet"]
PREPARED = ("size", "resize", "border", "preprocess")  # keys of a data set that say how its images come to be
SHORTER = {"var": 1.125, "adm": 1.0, "imagenet": 1 / 0.875}  # the shorter side by default, as a multiple of the size


def preprocess(
    image: Image.Image, size: int | None, resize: Resize = None, border: int = 0, how: How = "var"
) -> NDArray[np.uint8]:
    """A picture as RGB (size, size, 3): the shorter side resized, then a centre crop. how:

    - var: by Lanczos, as VAR's code does;
    - adm: halved by boxes while it has twice the size, then bicubic to the size itself, as ADM's code does and those of
      DiT, SiT and RandAR;
    - imagenet: bilinear, as torchvision's transform for evaluation.

    resize: length of the shorter side before the crop, by default round(1.125 size), and round(size / 0.875) of
    imagenet; not for adm. "none": the picture is only cropped. Without a size it is only converted to RGB. border:
    pixels cropped from each side first. EXIF orientation is not applied, and an alpha channel is dropped, as in VAR's
    code; 16-bit grey levels are divided by 257 (Pillow alone would cut them at 255).
    Raises ValueError for a picture that is smaller than its crop.
    """
    image = eight_bits(image).convert("RGB")
    if border:
        image = image.crop((border, border, image.width - border, image.height - border))
    if size is None:
        return np.asarray(image)
    if resize == "none":
        if min(image.size) < size:
            raise ValueError(f"{image.width}x{image.height} pixels")
        left, top = (round((side - size) / 2) for side in image.size)
        return np.asarray(image.crop((left, top, left + size, top + size)))
    if how == "adm":
        while min(image.size) >= 2 * size:
            image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        scale = size / min(image.size)
        shape = (round(image.width * scale), round(image.height * scale))
        return crop_of_resized(image, shape, (shape[0] - size) // 2, (shape[1] - size) // 2, size, BICUBIC)
    width, height = image.size
    shorter = shorter_side(size, resize, how)
    longer = int(shorter * max(width, height) / min(width, height))
    shape = (shorter, longer) if width <= height else (longer, shorter)
    left, top = (round((side - size) / 2) for side in shape)
    return crop_of_resized(image, shape, left, top, size, BILINEAR if how == "imagenet" else LANCZOS)


def crop_of_resized(
    image: Image.Image, shape: tuple[int, int], left: int, top: int, size: int, by: Image.Resampling
) -> NDArray[np.uint8]:
    """The crop (size, size, 3) from (left, top) of a picture resized to shape, width and height."""
    if max(shape) > LONG * min(shape) > LONG * min(image.size) / 2:  # much smaller pictures cost less than they hold
        return resized_crop(image, shape, left, top, size, by)
    return np.asarray(image.resize(shape, by).crop((left, top, left + size, top + size)))


def shorter_side(size: int, resize: int | None, how: How = "var") -> int:
    """The length of a picture's shorter side before the crop to `size`."""
    return resize or round(SHORTER[how] * size)


def enlarged(
    image: Image.Image, size: int | None, resize: Resize = None, border: int = 0, how: How = "var"
) -> str | None:
    """What preprocessing does to a picture that has fewer pixels than it is resized to; None where it has enough.

    A picture that has the model's size already loses its rim, without any need.
    """
    smaller = min(image.size) - 2 * border
    if size is None or resize == "none" or smaller >= (shorter := shorter_side(size, resize, how)):
        return None
    return (
        f"{image.width}x{image.height} pixels are enlarged, the shorter side to {shorter}, and cropped to {size}; "
        f"where pictures are right as they are, say resize: none"
    )


def eight_bits(image: Image.Image) -> Image.Image:
    """A picture of 16-bit grey levels with 8 bits; others as they are."""
    if not image.mode.startswith("I"):
        return image
    levels = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(np.round(levels / 257).astype(np.uint8))


def stack_images(images: list[NDArray[np.uint8]], side: int, image_ids: list[str]) -> NDArray[np.uint8]:
    """Images as one array (N, side, side, 3). Raises InputError for one of another size, naming it."""
    for image, image_id in zip(images, image_ids, strict=True):
        if image.shape != (side, side, 3):
            found = f"{image.shape[1]}x{image.shape[0]}"
            raise InputError(
                f"{image_id}: {found} pixels, but the model takes {side}x{side}; set size: {side} for the data set"
            )
    return np.stack(images) if images else np.empty((0, side, side, 3), np.uint8)


def pixels_sha256(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The SHA-256 (N, 32) of the pixels of each image (N, H, W, 3)."""
    found = (hashlib.sha256(image.tobytes()).digest() for image in images)
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)
