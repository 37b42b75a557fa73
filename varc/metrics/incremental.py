"""Figures of class-incremental learning: accuracy after each task on each task, average, and forgetting."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

from varc.metrics.published import read_published

Floats = NDArray[np.float64]


def accuracy_matrix(rows: pd.DataFrame) -> Floats:
    """Accuracy (T, T) after task i on task j, NaN where j was not learned yet, from a run's rows."""
    return rows.pivot(index="after_task", columns="on_task", values="accuracy").to_numpy(dtype=float)


def average(matrix: Floats) -> Floats:
    """The mean accuracy (T,) on the tasks learned so far, after each task."""
    return np.nanmean(matrix, axis=1)


def forgetting(matrix: Floats) -> float:
    """The mean over all tasks but the last of the best accuracy ever minus the final one (Chaudhry et al. 2018)."""
    if len(matrix) == 1:
        return 0.0
    return float((np.nanmax(matrix[:-1, :-1], axis=0) - matrix[-1, :-1]).mean())


def mean_interval(values: Sequence[float], smallest: float = -math.inf, largest: float = math.inf) -> dict[str, float]:
    """The mean over seeds and its 95 % interval by Student's t; no interval for one seed.

    It is cut at the smallest and the largest that the mean can be, which takes nothing from its coverage.
    """
    mean = float(np.mean(values))
    if len(values) == 1:
        return {"mean": mean, "low": math.nan, "high": math.nan}
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return {"mean": mean, "low": max(smallest, mean - half), "high": min(largest, mean + half)}


def incremental_rows(matrices: Sequence[Floats]) -> list[dict[str, Any]]:
    """Rows of tables/incremental.csv for one strategy, from the matrices of all seeds."""
    tasks = len(matrices[0])
    rows: list[dict[str, Any]] = []
    for after in range(tasks):
        for on in range(after + 1):
            found = mean_interval([matrix[after, on] for matrix in matrices], 0.0, 1.0)
            rows.append({"measure": "accuracy", "after_task": after + 1, "on_task": on + 1, **found})
        found = mean_interval([average(matrix)[after] for matrix in matrices], 0.0, 1.0)
        rows.append({"measure": "average", "after_task": after + 1, "on_task": None, **found})
    found = mean_interval([forgetting(matrix) for matrix in matrices], -1.0, 1.0)
    rows.append({"measure": "forgetting", "after_task": tasks, "on_task": None, **found})
    return [{**row, "seeds": len(matrices)} for row in rows]


def with_paper(table: pd.DataFrame, published: str | None) -> pd.DataFrame:
    """The table with the paper's averages (10 ImageNet classes, 2 tasks) in a column of their own.

    published: a CSV whose rows of the dataset "incremental" name the strategies none and cwr, and the families var and
    diffusion. How these two learned the second task is not published, so a figure stands beside all ways without old
    images.
    """
    if published is None:
        return table
    figures = read_published(published, ["top1"])
    figures = figures[figures["dataset"] == "incremental"]
    averages = dict(zip(figures["classifier"], figures["top1"], strict=True))
    names = table["strategy"].where(table["strategy"].isin(["none", "cwr"]), table["family"])
    stands = (table["tasks"] == 2) & (table["measure"] == "average") & (table["after_task"] == 2)
    stands &= ~table["strategy"].str.endswith("joint")
    return table.assign(paper_average=names.map(averages).where(stands))
