"""Named shifts of test images, five severities each, for tests of robustness.

A shift takes one uint8 image (H, W, 3), its amount, and the image's own random numbers, and returns an image of that
shape. Amounts that are lengths are shares of the image's side, so that they mean the same at any resolution; those of
noise, contrast and brightness are of the range of pixels. Noise and pixelation have the amounts of ImageNet-C
(Hendrycks and Dietterich 2019, arXiv 1903.12261); the others are ours.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from varc.seeded import image_generator

Pixels = NDArray[np.uint8]
Generator = np.random.Generator

SEED = 0  # shifted images are data: they stay the same where a run's seed changes
GREY = 128
LINE_WIDTH = 0.02  # standard deviation of the blur before edges are found, as a share of the side


class Shift(NamedTuple):
    """What a shift does, and its amount at severities 1 to 5."""

    apply: Callable[[Pixels, float, Generator], Pixels]
    amounts: tuple[float, float, float, float, float]


def rounded(values: NDArray[np.floating]) -> Pixels:
    """Grey levels as uint8, cut at 0 and 255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def side(image: Pixels) -> int:
    """The shorter side in pixels."""
    return min(image.shape[:2])


def gaussian_noise(image: Pixels, std: float, rng: Generator) -> Pixels:
    """Normal noise of a standard deviation in units of the range, per channel; grey images stay grey."""
    grey = (image == image[..., :1]).all()
    drawn = rng.standard_normal((*image.shape[:2], 1 if grey else 3))
    return rounded(image + 255 * std * drawn)


def blur(image: Pixels, std: float, rng: Generator) -> Pixels:
    """Gaussian blur; std is a share of the side."""
    std *= side(image)
    return rounded(ndimage.gaussian_filter(image.astype(np.float64), (std, std, 0), mode="nearest"))


def contrast(image: Pixels, factor: float, rng: Generator) -> Pixels:
    """Differences from the mean colour, times a factor below 1."""
    mean = image.mean((0, 1))
    return rounded(mean + factor * (image - mean))


def brightness(image: Pixels, added: float, rng: Generator) -> Pixels:
    """All channels brighter by a share of the range, cut at white."""
    return rounded(image + 255 * added)


def translation(image: Pixels, distance: float, rng: Generator) -> Pixels:
    """Moved up, down, left or right by a share of the side, at least one pixel; edge pixels fill the gap."""
    pixels = max(1, round(distance * side(image)))
    down, right = ((-pixels, 0), (pixels, 0), (0, -pixels), (0, pixels))[rng.integers(4)]
    rows, columns = (np.arange(length) for length in image.shape[:2])
    rows, columns = np.clip(rows - down, 0, rows[-1]), np.clip(columns - right, 0, columns[-1])
    return image[np.ix_(rows, columns)]


def rotation(image: Pixels, degrees: float, rng: Generator) -> Pixels:
    """Turned about the centre, either way, bilinearly; edge pixels fill the corners."""
    angle = degrees if rng.integers(2) else -degrees
    return rounded(ndimage.rotate(image.astype(np.float64), angle, reshape=False, order=1, mode="nearest"))


def pixelate(image: Pixels, kept: float, rng: Generator) -> Pixels:
    """The share `kept` of the pixels per side: means of boxes, enlarged again without smoothing."""
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((round(kept * width), round(kept * height)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def occlusion(image: Pixels, length: float, rng: Generator) -> Pixels:
    """A grey square of a share of the side, anywhere in the image; a larger one covers a smaller one."""
    pixels = round(length * side(image))
    top, left = (round(rng.random() * (free - pixels)) for free in image.shape[:2])
    image = image.copy()
    image[top : top + pixels, left : left + pixels] = GREY
    return image


def sketch(image: Pixels, blend: float, rng: Generator) -> Pixels:
    """Blended with a sketch of itself: dark lines, as strong as its edges, on white."""
    edges = ndimage.gaussian_gradient_magnitude(
        image.mean(2), max(0.5, LINE_WIDTH * side(image)), mode="nearest", truncate=3.0
    )
    lines = 255 * (1 - edges / max(edges.max(), 1.0))
    return rounded((1 - blend) * image + blend * lines[..., None])


def inverted(image: Pixels, blend: float, rng: Generator) -> Pixels:
    """Blended with its negative."""
    return rounded((1 - blend) * image + blend * (255.0 - image))


SHIFTS = {
    "gaussian_noise": Shift(gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "blur": Shift(blur, (0.025, 0.04, 0.06, 0.08, 0.1)),
    "contrast": Shift(contrast, (0.7, 0.5, 0.35, 0.2, 0.1)),
    "brightness": Shift(brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "translation": Shift(translation, (0.05, 0.1, 0.15, 0.2, 0.25)),
    "rotation": Shift(rotation, (10, 20, 30, 45, 60)),
    "pixelate": Shift(pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "occlusion": Shift(occlusion, (0.2, 0.3, 0.4, 0.5, 0.6)),
    "sketch": Shift(sketch, (0.2, 0.4, 0.6, 0.8, 1)),
    "inverted": Shift(inverted, (0.2, 0.4, 0.6, 0.8, 1)),
}


def shifted(images: Pixels, image_ids: Sequence[str], name: str, severity: int, seed: int = SEED) -> Pixels:
    """Images (N, H, W, 3) under a shift of SHIFTS at a severity from 1 to 5; a new array.

    What a shift draws depends on (image_id, name, seed) alone, so it is the same for any shard or order, and for all
    severities. Raises KeyError for an unknown name, IndexError for a severity above 5.
    """
    shift = SHIFTS[name]
    amount = shift.amounts[severity - 1]
    moved = np.empty_like(images)
    for i, image_id in enumerate(image_ids):
        moved[i] = shift.apply(images[i], amount, image_generator(seed, f"shift {name}", image_id))
    return moved
