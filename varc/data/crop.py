"""The centre crop of a long, thin picture, without resizing what the crop cuts away.

Pillow resizes in two passes, mostly first along rows, then along columns, and rounds to 8 bits after each. So does
this, pixel for pixel; but the pass along the long side makes only the pixels of the crop.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PRECISION = 22  # bits of a weight in Pillow's sums of 8-bit pixels
BILINEAR, BICUBIC, LANCZOS = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
Floats = NDArray[np.float64]


def lanczos(x: Floats) -> Floats:
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def bicubic(x: Floats) -> Floats:
    """Keys' kernel with a = -1/2."""
    near, far = (1.5 * x - 2.5) * x * x + 1, -0.5 * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def bilinear(x: Floats) -> Floats:
    return np.maximum(1 - x, 0.0)


KERNELS: dict[Image.Resampling, tuple[float, Callable[[Floats], Floats]]] = {
    LANCZOS: (3.0, lanczos),
    BICUBIC: (2.0, bicubic),
    BILINEAR: (1.0, bilinear),
}  # Pillow's: the support in pixels, and the weight at a distance of 0 or more
Filter = Image.Resampling


def resized_crop(
    image: Image.Image, shape: tuple[int, int], left: int, top: int, size: int, by: Filter = LANCZOS
) -> NDArray[np.uint8]:
    """image.resize(shape, by) cropped to (size, size) from (left, top), as an array (size, size, 3).

    image: RGB, and more than twice as long as wide. shape: width and height.
    """
    width, height = image.size
    if shape[0] > shape[1]:
        first, end = sources(width, shape[0], left, size, by)
        columns = np.asarray(image.crop((first, 0, end, height))).swapaxes(0, 1)
        made = along(columns, width, shape[0], left, size, first, by).swapaxes(0, 1)
        full = Image.fromarray(np.ascontiguousarray(made)).resize((size, shape[1]), by)
        return np.asarray(full.crop((0, top, size, top + size)))
    first, end = sources(height, shape[1], top, size, by)
    band = image.crop((0, first, width, end))
    if shape[1] < height:  # then Pillow takes the columns of a high picture first
        made = along(np.asarray(band), height, shape[1], top, size, first, by)
        full = Image.fromarray(made).resize((shape[0], size), by)
        return np.asarray(full.crop((left, 0, left + size, size)))
    band = band.resize((shape[0], end - first), by).crop((left, 0, left + size, end - first))
    return along(np.asarray(band), height, shape[1], top, size, first, by)


def weights(length: int, out: int, position: int, by: Filter) -> tuple[int, Floats]:
    """What pixel `position` of `out` is made of, where `length` pixels become `out`: the first pixel, and the weights
    of it and those that follow, as whole numbers."""
    support, weight = KERNELS[by]
    scale = length / out
    widened = max(scale, 1.0)
    centre = (position + 0.5) * scale
    first = max(int(centre - support * widened + 0.5), 0)
    end = min(int(centre + support * widened + 0.5), length)
    x = (np.arange(first, end) - centre + 0.5) / widened
    kernel = weight(np.abs(x))
    total = kernel.sum()
    exact = kernel / total * 2**PRECISION if total else kernel
    return first, np.trunc(exact + np.where(exact < 0, -0.5, 0.5))


def sources(length: int, out: int, begin: int, size: int, by: Filter) -> tuple[int, int]:
    """The first pixel and the end of those that the pixels begin, ..., begin + size - 1 of `out` are made of."""
    last, kernel = weights(length, out, begin + size - 1, by)
    return weights(length, out, begin, by)[0], last + len(kernel)


def along(
    pixels: NDArray[np.uint8], length: int, out: int, begin: int, size: int, first: int, by: Filter
) -> NDArray[np.uint8]:
    """Where `length` pixels become `out` along the first axis: pixels begin, ..., begin + size - 1, as (size, M, 3).

    pixels (N, M, 3): the part of them that begins at `first`.
    """
    made = np.empty((size, *pixels.shape[1:]), np.uint8)
    for i in range(size):
        start, kernel = weights(length, out, begin + i, by)
        part = pixels[start - first : start - first + len(kernel)].reshape(len(kernel), -1)
        sums = kernel @ part.astype(np.float64) + 2 ** (PRECISION - 1)  # whole numbers below 2^53: exact
        made[i] = np.clip(np.floor(sums / 2**PRECISION), 0, 255).reshape(made.shape[1:])
    return made
