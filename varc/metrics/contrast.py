"""Do maps point at the pixels that truly tell two classes apart? Per image, and over images or their groups."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import hypergeom, rankdata

from varc.groups import numbered, unit_of
from varc.metrics.explanation import difference_row, mean_interval
from varc.metrics.holm import with_holm

MEASURES = ("auc", "iou", "pointing")
SPLITS = ("all", "absent", "present")
# Methods whose maps are never below 0.
UNSIGNED = ("tmi_abs", "random", "centre", "edge", "ink", "mean_mask", "saliency")
RIVALS = ("edge", "tmi")  # whose absolute values all others are compared with
AT_ONCE = 100  # images whose maps are enlarged together
Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]


class Localised(NamedTuple):
    """How well maps (N,) find a mask, all between 0 and 1."""

    auc: Floats
    iou: Floats
    pointing: Floats


def signs(method: str) -> tuple[str, ...]:
    """How a method's maps are looked at: as they are ("signed") and without their signs, or only so."""
    return ("absolute",) if method.startswith(UNSIGNED) else ("signed", "absolute")


def localise(maps: NDArray[np.float32], masks: Masks) -> Localised:
    """How well maps (N, h, w), bilinearly enlarged to the pixels of the masks (N, side, side), find these.

    Masks must have pixels, and lack some. See area_under_roc, overlap and pointing.
    """
    found: list[list[Floats]] = [[], [], []]
    for first in range(0, len(maps), AT_ONCE):
        inside = masks[first : first + AT_ONCE].reshape(-1, masks[0].size)
        values = enlarged(maps[first : first + AT_ONCE], masks.shape[1]).reshape(inside.shape)
        found[0].append(area_under_roc(values, inside))
        found[1].append(np.array([overlap(*one) for one in zip(values, inside, strict=True)]))
        found[2].append(pointing(values, inside))
    return Localised(*(np.concatenate(parts) if parts else np.empty(0) for parts in found))


def enlarged(maps: NDArray[np.float32], side: int) -> Floats:
    """Maps (N, h, w) at so many pixels (N, side, side), bilinearly.

    In float64, so that equal neighbours stay equal and ties are none of rounding's making.
    """
    given = torch.from_numpy(np.asarray(maps, np.float64))[:, None]
    return F.interpolate(given, size=(side, side), mode="bilinear", align_corners=False)[:, 0].numpy()


def area_under_roc(values: Floats, inside: Masks) -> Floats:
    """The chance (N,) that a pixel of the mask has a higher value than one outside it, equal ones a half (Mann and
    Whitney). values, inside: (N, pixels)."""
    area = inside.sum(1)
    ranks = (rankdata(values, axis=1) * inside).sum(1)
    return (ranks - area * (area + 1) / 2) / (area * (inside.shape[1] - area))


def overlap(values: Floats, inside: Masks) -> float:
    """Intersection over union of a mask (pixels,) and as many of the highest values; the expected one where equal
    values are drawn from."""
    area = int(inside.sum())
    least = np.partition(values, -area)[-area]
    above, equal = values > least, values == least
    surely, drawn = int((above & inside).sum()), area - int(above.sum())
    hits = np.arange(drawn + 1)
    chance = hypergeom(int(equal.sum()), int((equal & inside).sum()), drawn).pmf(hits)
    return float((chance * (surely + hits) / (2 * area - surely - hits)).sum())


def pointing(values: Floats, inside: Masks) -> Floats:
    """The chance (N,) that the pixel with the highest value is in the mask; equal ones are drawn from. (N, pixels)."""
    best = values == values.max(1, keepdims=True)
    return (best & inside).sum(1) / best.sum(1)


def contrast_table(parts: Sequence[tuple[dict[str, Any], pd.DataFrame, dict[str, dict[str, float]]]]) -> pd.DataFrame:
    """tables/contrast.csv. parts: names of a data set, model and pairs; what contrast_rows takes; method -> its costs.

    p of each rival is adjusted over all rows of a measure (Holm).
    """
    rows = [
        {**names, **row, **costs[row["method"]]} for names, located, costs in parts for row in contrast_rows(located)
    ]
    table = pd.DataFrame(rows)
    compared = [f"vs_{name}_p" for name in RIVALS]
    return pd.concat(
        [with_holm(table[table["measure"] == measure], *compared) for measure in MEASURES], ignore_index=True
    )


def contrast_rows(located: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Measure by measure, split by split, map by map: see contrast_row.

    located: image_id, group, present, method, sign and MEASURES, a row for each image and map.
    """
    of_map = {key: part.set_index("image_id") for key, part in located.groupby(["method", "sign"], sort=False)}
    for measure in MEASURES:
        for split in SPLITS:
            parts = {key: split_of(part, split) for key, part in of_map.items()}
            rivals = {name: parts[key] for name in RIVALS if (key := (name, "absolute")) in parts}
            for (method, sign), part in parts.items():
                if len(part):
                    names = {"measure": measure, "split": split, "method": method, "sign": sign}
                    yield names | contrast_row(part, measure, rivals)


def split_of(part: pd.DataFrame, split: str) -> pd.DataFrame:
    """The images of SPLITS: all, or those in which the difference is absent or present."""
    return part if split == "all" else part[part["present"] == (split == "present")]


def contrast_row(part: pd.DataFrame, measure: str, rivals: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The mean of a measure over images, its interval, and the paired difference to each rival's on the images that
    both explain; none to itself."""
    groups = numbered(part["group"].tolist())
    values = part[measure].to_numpy(float)
    low, high = mean_interval(values, groups, 0.0)
    row: dict[str, Any] = {
        "images": len(part),
        "groups": None if groups is None else int(groups.max()) + 1,
        "unit": unit_of(groups),
    }
    row |= {"mean": values.mean(), "low": low, "high": high}
    for name in RIVALS:
        row |= dict.fromkeys(f"vs_{name}{end}" for end in ("", "_low", "_high", "_p"))
        rival = rivals.get(name)
        if rival is not None and rival is not part and len(both := part.index.intersection(rival.index)):
            gain = (part.loc[both, measure] - rival.loc[both, measure]).to_numpy(float)
            row |= difference_row(f"vs_{name}", gain, numbered(part.loc[both, "group"].tolist()))
    return row


def clearest(located: pd.DataFrame, count: int) -> list[str]:
    """The image_ids of a map's highest AUC, in that order; of equals by image_id."""
    return located.sort_values(["auc", "image_id"], ascending=[False, True])["image_id"].tolist()[:count]


def worst(located: pd.DataFrame, count: int) -> list[str]:
    """The image_ids of a map's lowest AUC, in that order; of equals by image_id."""
    return located.sort_values(["auc", "image_id"])["image_id"].tolist()[:count]
