"""Which classes a classifier knows, and what it takes the others for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from varc.groups import Groups, unit_of
from varc.metrics.accuracy import right_predictions
from varc.metrics.intervals import share_interval
from varc.scoring.funnel import as_labels


def per_class_rows(
    predictions: pd.DataFrame, names: Mapping[int, str], label_of: Mapping[int, int], groups: Groups = None
) -> list[dict[str, Any]]:
    """Rows of tables/per_class.csv: top-1 of the images (N,) of each class that has any, with its 95 % interval over
    images or groups (`unit`).

    names: class_id -> name. label_of: class_id -> label, where several class_ids stand for one class. predicted: how
    many images were taken for the class, rightly or not. taken_for: the other class that most of its images were taken
    for, of equals the one with the smallest class_id; nothing where all are right.
    """
    labels, right = predictions["label"].to_numpy(), right_predictions(predictions)
    predicted = as_labels(predictions["prediction"].to_numpy(), dict(label_of))
    rows = []
    for label in np.unique(labels):
        own = labels == label
        low, high = share_interval(right[own], None if groups is None else groups[own])
        others, counts = np.unique(predicted[own & ~right], return_counts=True)
        most = int(counts.argmax()) if len(others) else None
        rows.append(
            {
                "class_id": int(label),
                "name": names[int(label)],
                "images": int(own.sum()),
                "top1": right[own].mean(),
                "top1_low": low,
                "top1_high": high,
                "unit": unit_of(groups),
                "predicted": int((predicted == label).sum()),
                "taken_for": None if most is None else names[int(others[most])],
                "taken_for_images": None if most is None else int(counts[most]),
            }
        )
    return rows
