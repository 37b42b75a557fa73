"""Plots of the tables, as SVG."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure


def plot_pruning(path: str | Path, pruning: pd.DataFrame) -> None:
    """Recall against cost: a panel per data set and model, a line per number of scales, a point per k."""
    groups = list(pruning.groupby(["dataset", "model"]))
    figure = Figure(figsize=(6.5, 4 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, ((dataset, model), group) in zip(panels, groups, strict=True):
        last = group["scales"].max()
        for scales, line in group.groupby("scales"):
            if scales < last:
                axes.plot(line["gflops"], line["recall"], marker="o", markersize=3, label=f"{scales} scales, best k")
        full = group[group["scales"] == last]["gflops"].iloc[0]
        axes.axvline(full, color="0.5", linestyle="--", label=f"all classes at {last} scales")
        axes.set(title=f"{dataset}, {model}", xlabel="GFLOPs per image (fvcore)", ylabel="recall of the label")
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
