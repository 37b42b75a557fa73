"""Groups of images: those of one font, patient or video hang together, and a group may stand where an image would."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Groups = NDArray[np.integer[Any]] | None  # the group of each image (N,), as a number; None: images are on their own


def numbered(names: Any) -> Groups:
    """The groups of images by their names (N,): numbers from 0, in the order in which they first occur.

    None where there are none, and where each has one image: then images are on their own. Raises ValueError where some
    images have a group and others have none.
    """
    if names is None or (absent := sum(name is None for name in names)) == len(names):
        return None
    if absent:
        raise ValueError(f"{absent} of {len(names)} images have no group; give one to all, or to none")
    found = in_order(names)
    return None if found.max() == len(found) - 1 else found


def in_order(names: Iterable[Any]) -> NDArray[np.integer[Any]]:
    """Names (N,) as numbers from 0, in the order in which they first occur."""
    number: dict[Any, int] = {}
    return np.array([number.setdefault(name, len(number)) for name in names], int)


def unit_of(groups: Groups) -> str:
    """What intervals and promises are over, as tables say it."""
    return "image" if groups is None else "group"
