"""Confusion matrices: which classes are taken for which."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from varc.files import save_figure
from varc.scoring.funnel import as_labels

Shares = NDArray[np.float64]
COLUMNS = ("label", "label_name", "prediction", "prediction_name", "images", "share")
NUMBERED = 20  # classes, up to which cells have numbers
NAMED = 150  # classes, up to which rows and columns have names


class Confusion(NamedTuple):
    """How many images of each class (rows) are taken for each (columns), by class_id ascending."""

    class_ids: NDArray[np.integer[Any]]  # (C,): of all labels and predictions
    counts: NDArray[np.integer[Any]]  # (C, C)

    @property
    def shares(self) -> Shares:
        """Of the images of each class (C, C); NaN for a class without images."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.counts / self.counts.sum(1, keepdims=True))


def confusion(predictions: pd.DataFrame, label_of: Mapping[int, int]) -> Confusion:
    """The confusion matrix of predictions. label_of: class_id -> label, where several stand for one class."""
    labels = predictions["label"].to_numpy()
    predicted = as_labels(predictions["prediction"].to_numpy(), dict(label_of))
    class_ids, which = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    counts = np.zeros((len(class_ids),) * 2, int)
    np.add.at(counts, (which[: len(labels)], which[len(labels) :]), 1)
    return Confusion(class_ids, counts)


def confusion_rows(found: Confusion, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Rows of tables/confusion.csv: the pairs of classes that are confused, those with most images first. share: of the
    label's images."""
    shares, ids = found.shares, found.class_ids.tolist()
    wrong = [(i, j) for i, j in np.argwhere(found.counts).tolist() if i != j]
    cells = sorted(wrong, key=lambda cell: (-found.counts[cell], cell))
    rows = ((ids[i], names[ids[i]], ids[j], names[ids[j]], int(found.counts[i, j]), shares[i, j]) for i, j in cells)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def plot_confusion(path: str | Path, panels: Sequence[tuple[str, Confusion, Mapping[int, str]]]) -> None:
    """Confusion matrices one below the other, each with a title: mistakes as shares of the label's images, in colour;
    what is right is grey. With numbers and names where there is room."""
    sizes = [min(14.0, 3.5 + 0.11 * len(found.class_ids)) for _, found, _ in panels]
    figure = Figure(figsize=(max(sizes) + 1, sum(sizes)), layout="constrained")
    drawn = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})[:, 0]
    for axes, (title, found, names) in zip(drawn, panels, strict=True):
        classes, shares = len(found.class_ids), 100 * found.shares
        right = np.eye(classes, dtype=bool)
        axes.imshow(np.where(right & np.isfinite(shares), 1.0, np.nan), cmap="Greys", vmin=0, vmax=5)
        mistakes = np.ma.masked_where(right | ~(shares > 0), shares)
        image = axes.imshow(mistakes, cmap="YlOrRd", vmin=0, vmax=float(mistakes.max(fill_value=0) or 1.0))
        figure.colorbar(image, ax=axes, shrink=0.6, label="% of the label's images")
        axes.set_title(title, parse_math=False)
        axes.set(xlabel="prediction", ylabel="label")
        axes.grid(False)
        if classes <= NAMED:
            size = max(4.0, min(8.0, 400 / classes))
            told = [names[int(i)] for i in found.class_ids]
            axes.set_xticks(range(classes), told, fontsize=size, rotation=90, parse_math=False)
            axes.set_yticks(range(classes), told, fontsize=size, parse_math=False)
        if classes <= NUMBERED:
            for i, j in np.argwhere(found.counts).tolist():
                axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=7)
    save_figure(path, figure)
