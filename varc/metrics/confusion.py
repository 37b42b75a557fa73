"""Confusion matrices: which classes are taken for which."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from varc.figures import save_figure, styled
from varc.scoring.funnel import as_labels

Shares = NDArray[np.float64]
COLUMNS = ("label", "label_name", "prediction", "prediction_name", "images", "share")
MOST = 30  # classes that a matrix shows
LETTERS = 24  # of a name beside a matrix


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


def most_confused(found: Confusion) -> NDArray[np.integer[Any]]:
    """The positions, ascending, of the classes that a matrix shows: all, or of many those that are most often the label
    or the prediction of a mistake, of equals those with the smallest class_ids."""
    wrong = found.counts - np.diag(np.diag(found.counts))
    return np.sort(np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:MOST])


@styled
def plot_confusion(path: str | Path, panels: Sequence[tuple[str, Confusion, Mapping[int, str]]]) -> None:
    """Confusion matrices one below the other, each with a title: of the images of each label (row) the share, in
    percent, that is taken for each class (column); mistakes in colour. See most_confused."""
    shown = [most_confused(found) for _, found, _ in panels]
    sizes = [1.5 + 0.22 * max(8, len(which)) for which in shown]
    figure = Figure(figsize=(max(sizes) + 1, sum(sizes)), layout="constrained")
    drawn = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})[:, 0]
    for axes, (title, found, names), which in zip(drawn, panels, shown, strict=True):
        classes, shares = len(which), 100 * found.shares[np.ix_(which, which)]
        right = np.eye(classes, dtype=bool)
        axes.imshow(np.where(right, 1.0, np.nan), cmap="Greys", vmin=0, vmax=5)
        mistakes = np.ma.masked_where(right | ~(shares > 0), shares)
        axes.imshow(mistakes, cmap="YlOrRd", vmin=0, vmax=1.6 * float(mistakes.max(fill_value=0) or 1.0))
        for i, j in np.argwhere(shares > 0).tolist():
            axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=7)
        few = (
            f", the {classes} of {len(found.class_ids)} classes with most mistakes"
            if classes < len(found.class_ids)
            else ""
        )
        axes.set_title(f"{title}{few}, % of the label's images", fontsize=9, parse_math=False)
        axes.set(xlabel="prediction", ylabel="label")
        axes.grid(False)
        told = [f"{names[int(i)]:.{LETTERS}}" for i in found.class_ids[which]]
        turned = 90 if max(map(len, told)) > 2 else 0
        axes.set_xticks(range(classes), told, fontsize=8, rotation=turned, parse_math=False)
        axes.set_yticks(range(classes), told, fontsize=8, parse_math=False)
    save_figure(path, figure)
