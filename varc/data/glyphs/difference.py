"""Where two pictures of one face truly differ. It knows no fonts, so that jobs that ask it depend on nothing else."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, maximum_filter

SHIFT = 3  # pixels to either side that one picture may be moved so that both fit best: bars move the ink's centre
INK, DIFFERS = 0.4, 0.25  # of full brightness


class Difference(NamedTuple):
    """Where two characters truly differ. present: whether the picture has the ink, or lacks it."""

    mask: NDArray[np.bool_]  # (side, side)
    present: bool


def difference(picture: NDArray[np.uint8], other: NDArray[np.uint8]) -> Difference:
    """The true difference of a picture (side, side) to another one of the same face.

    The other is moved sideways to where both fit best. Ink counts as different where the other has none within a pixel:
    an outline that is a little elsewhere is the same stroke. The mask is what differs within a pixel of such ink.
    """
    own, moved = picture / 255.0, best_fit(picture / 255.0, other / 255.0)
    more = own > maximum_filter(moved, 3) + INK
    less = moved > maximum_filter(own, 3) + INK
    mask = binary_dilation(more | less, np.ones((3, 3))) & (np.abs(own - moved) > DIFFERS)
    return Difference(mask, bool(own[mask].sum() > moved[mask].sum()))


def best_fit(own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Another picture, moved sideways by at most SHIFT pixels to where it differs least; of equals the least."""
    moved = [np.roll(other, shift, 1) for shift in sorted(range(-SHIFT, SHIFT + 1), key=abs)]
    return min(moved, key=lambda one: np.abs(own - one).sum())
