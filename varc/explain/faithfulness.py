"""Is a map true? Insertion and deletion curves (RISE; Petsiuk et al. 2018).

Pixels are inserted into a substrate, or deleted from the image, in the order of the map, and a classifier's score is
followed. A true map makes it rise early under insertion and fall early under deletion.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.special import log_softmax

from varc.keep import Keep, at_once
from varc.seeded import image_generator

Pixels = NDArray[np.uint8]  # (H, W, 3), or (B, H, W, 3)
Floats = NDArray[np.float64]
Substrate = Literal["blur", "mean"]
Upsampling = Literal["nearest", "bilinear"]
Curve = Literal["insertion", "deletion"]
Judge = Callable[[Pixels], Floats]  # images (B, H, W, 3) -> scores of all classes (B, M), of which a softmax is taken
BLUR_SHARE = 0.1  # of the image's side: the standard deviation of the blur


def upsample(maps: NDArray[np.float32], side: int, mode: Upsampling) -> NDArray[np.float32]:
    """Maps (N, h, w) at an image's resolution (N, side, side)."""
    options = {} if mode == "nearest" else {"align_corners": False}
    return F.interpolate(torch.from_numpy(maps)[:, None], size=(side, side), mode=mode, **options)[:, 0].numpy()


def pixel_order(values: NDArray[np.float32], image_id: str, seed: int) -> NDArray[np.intp]:
    """Flat positions of a map's (H, W) pixels, the highest first; ties in an order drawn per (image_id, seed)."""
    chance = image_generator(seed, "order", image_id).random(values.size)
    return np.lexsort((chance, -values.ravel()))


def substrate(image: Pixels, kind: Substrate) -> Pixels:
    """What stands where no pixel of the image does: the image blurred, or its mean colour."""
    if kind == "mean":
        return np.broadcast_to(np.round(image.mean((0, 1))).astype(np.uint8), image.shape)
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR_SHARE * len(image))))


def fractions(steps: int) -> Floats:
    """The shares of pixels (steps + 1,) at which a curve is taken, both ends included."""
    return np.linspace(0, 1, steps + 1)


def inserted(image: Pixels, ground: Pixels, order: NDArray[np.intp], steps: int) -> Pixels:
    """Images (steps + 1, H, W, 3): the ground with more and more of the image's pixels, in order.

    Deletion is the same with image and ground exchanged.
    """
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    counts = np.round(fractions(steps) * order.size).astype(np.int64)
    shown = (rank[None] < counts[:, None]).reshape(-1, *image.shape[:2], 1)
    return np.where(shown, image[None], ground[None])


def faithfulness(
    images: Pixels,
    maps: NDArray[np.float32],
    image_ids: Sequence[str],
    judge: Judge,
    *,
    curve: Curve,
    ground: Substrate,
    steps: int,
    mode: Upsampling,
    seed: int,
    report: Callable[[int, int], None] = lambda done, total: None,
    keep: Keep = at_once,
) -> Floats:
    """The judge's scores of all classes along the curve of each image (N, steps + 1, M).

    images (N, H, W, 3); maps (N, h, w). All steps of an image are judged as one batch, a piece for `keep`.
    report(done, total) is called after each image.
    """
    result, large = [], upsample(maps, images.shape[1], mode)

    def judged(i: int) -> Floats:
        order = pixel_order(large[i], image_ids[i], seed)
        other = substrate(images[i], ground)
        shown, hidden = (images[i], other) if curve == "insertion" else (other, images[i])
        return judge(inserted(shown, hidden, order, steps))

    for i in range(len(images)):
        result.append(keep(functools.partial(judged, i)))
        report(i + 1, len(images))
    return np.array(result)


def class_probability(scores: Floats, target: NDArray[np.integer], temperature: float = 1.0) -> Floats:
    """The softmax over classes at a temperature, of the target's position (N,): curves (N, steps + 1) from scores
    (N, steps + 1, M)."""
    log_p = log_softmax(scores / temperature, axis=-1)
    return np.exp(np.take_along_axis(log_p, target[:, None, None], axis=-1)[..., 0])


def auc(curves: Floats) -> Floats:
    """The area under curves (..., steps + 1) over the share of pixels, by trapezoids."""
    return np.asarray(np.trapezoid(curves, fractions(curves.shape[-1] - 1), axis=-1))
