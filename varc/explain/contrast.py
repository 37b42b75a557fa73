"""What truly tells two classes apart in an image, pixel by pixel, where a picture of the other class is known."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.data.found import Spec
from varc.data.glyphs.difference import difference
from varc.data.manifest import Listed, load_images
from varc.errors import InputError
from varc.explain.faithfulness import Pixels
from varc.explain.pairs import Pair
from varc.groups import in_order

Masks = NDArray[np.bool_]  # (N, side, side)


class Truth(NamedTuple):
    """Pictures, those of the other classes, and where they differ."""

    pictures: Pixels  # (N, side, side, 3)
    others: Pixels
    masks: Masks
    present: NDArray[np.bool_]  # (N,): the picture has the ink that tells; else it lacks it


def truth(spec: Spec, pairs: Sequence[Pair], listed: Sequence[Listed], side: int, path: str | Path) -> Truth:
    """What truly tells the classes of pairs apart, by the pictures as a model takes them, in shades of grey.

    listed: the images of the data set. path: the file of the pairs, for messages. Raises InputError, with its line,
    for pictures that differ nowhere, or everywhere: no map can be right or wrong there.
    """
    by_id = {image.image_id: image for image in listed}
    pictures, others = (
        load_images(spec, [by_id[image_id] for image_id in ids], side)
        for ids in ([pair.image_id for pair in pairs], [str(pair.counterpart) for pair in pairs])
    )
    found = [difference(*two) for two in zip(grey(pictures), grey(others), strict=True)]
    for pair, (mask, _) in zip(pairs, found, strict=True):
        if not mask.any() or mask.all():
            where = "everywhere" if mask.any() else "nowhere"
            names = f"{pair.image_id} and its counterpart {pair.counterpart}"
            raise InputError(f"{path}, line {pair.line}: {names} differ {where}; take the line away")
    return Truth(pictures, others, np.array([mask for mask, _ in found]), np.array([there for _, there in found]))


def grey(images: Pixels) -> Pixels:
    """Pictures (N, side, side, 3) in shades of grey (N, side, side)."""
    return images.mean(3).round().astype(np.uint8)


def mean_masks(masks: Masks, kinds: Sequence[Hashable], groups: Sequence[Hashable]) -> NDArray[np.float32]:
    """For each image the mean of the masks of the same kind in other groups than its own (N, side, side); 0 where
    there are none. kinds, groups: of each image (N,)."""
    kind, group = in_order(kinds), in_order(groups)
    result = np.zeros(masks.shape, np.float32)
    for each in range(kind.max() + 1):
        alike = np.flatnonzero(kind == each)
        total = masks[alike].sum(0)
        for own in (alike[group[alike] == one] for one in np.unique(group[alike])):
            if others := len(alike) - len(own):
                result[own] = (total - masks[own].sum(0)) / others
    return result


def patch_means(values: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """Pictures (N, side, side) as maps (N, grid, grid): means over patches. side must be a multiple of grid."""
    step = values.shape[1] // grid
    return values.reshape(len(values), grid, step, grid, step).mean((2, 4), dtype=np.float64).astype(np.float32)
