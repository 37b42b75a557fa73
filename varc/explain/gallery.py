"""Which predictions a gallery explains."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def gallery(margins: NDArray[np.float64], right: NDArray[np.bool_], order: Sequence[int], count: int) -> list[int]:
    """The positions of images to show: the first right ones of an order, then the wrong ones with the smallest margins,
    from the smallest, then those with the largest, from the largest; up to `count` of each, none twice.

    margins (N,): how far, in nats, the label is before the best other class; of wrong predictions below 0, and their
    size is what counts. right (N,). order: positions of the images that there is something to show of.
    """
    wrong = sorted((i for i in order if not right[i]), key=lambda i: abs(margins[i]))
    close, rest = wrong[:count], wrong[count:]
    return [*[i for i in order if right[i]][:count], *close, *rest[::-1][:count]]
