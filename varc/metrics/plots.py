"""Plots of the tables, as SVG."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from varc.files import save_figure

CONTROLS = ("random", "centre", "edge", "ink", "mean_mask")


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
    save_figure(path, figure)


def plot_frontier(path: str | Path, adaptive: pd.DataFrame, fixed: dict[tuple[str, str], pd.DataFrame]) -> None:
    """Top-1 against scoring GFLOPs: a panel per data set and classifier; the best fixed funnels are a line."""
    figure = Figure(figsize=(6.5, 4 * len(fixed)), layout="constrained")
    panels = figure.subplots(len(fixed), 1, squeeze=False)[:, 0]
    for axes, ((dataset, classifier), points) in zip(panels, fixed.items(), strict=True):
        group = adaptive[(adaptive["dataset"] == dataset) & (adaptive["classifier"] == classifier)]
        points = points.sort_values("gflops")
        best = points[points["top1"] > points["top1"].cummax().shift(fill_value=-1.0)]
        axes.plot(points["gflops"], points["top1"], ".", color="0.8", label="two fixed stages")
        axes.plot(best["gflops"], best["top1"], color="0.5", drawstyle="steps-post", label="the best of them")
        error = [group["top1"] - group["top1_low"], group["top1_high"] - group["top1"]]
        axes.errorbar(
            group["scoring_gflops"], group["top1"], error, marker="o", capsize=2, label="adaptive, each alpha"
        )
        axes.set(title=f"{dataset}, {classifier}", xlabel="scoring GFLOPs per image (fvcore)", ylabel="top-1")
        axes.set(xscale="log", ylim=(max(0.0, group["top1"].min() - 0.1), min(1.0, group["top1"].max() + 0.05)))
        axes.legend(frameon=False)
    save_figure(path, figure)


def plot_reliability(path: str | Path, curves: dict[str, tuple[Any, Any]]) -> None:
    """Accuracy against confidence; title -> (confidence, accuracy) per bin."""
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    for title, (confidence, accuracy) in curves.items():
        axes.plot(confidence, accuracy, marker="o", markersize=3, label=title)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    save_figure(path, figure)


def plot_main(path: str | Path, table: pd.DataFrame) -> None:
    """Top-1 with its interval against GFLOPs per image, a panel per data set, a colour per family."""
    groups = list(table.groupby("dataset"))
    figure = Figure(figsize=(8, 5.5 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    colours = {name: f"C{i}" for i, name in enumerate(sorted(table["family"].unique()))}
    for axes, (dataset, group) in zip(panels, groups, strict=True):
        for family, points in group.groupby("family"):
            error = [points["top1"] - points["top1_low"], points["top1_high"] - points["top1"]]
            style = {"fmt": "o", "capsize": 2, "color": colours[family]}
            axes.errorbar(points["gflops_per_image"], points["top1"], error, label=family, **style)
            for row in points.itertuples():
                where = (row.gflops_per_image, row.top1)
                axes.annotate(row.classifier, where, xytext=(4, 3), textcoords="offset points", fontsize=7)
        axes.set(title=str(dataset), xscale="log", xlabel="GFLOPs per image (fvcore)", ylabel="top-1")
        axes.legend(frameon=False, fontsize="small", ncols=2)
    save_figure(path, figure)


def plot_smoothing(path: str | Path, smoothing: pd.DataFrame) -> None:
    """Top-1 against the number of samples at one sigma, and against sigma at one number of samples, per data set."""
    datasets = list(smoothing.groupby("dataset"))
    figure = Figure(figsize=(9, 3.6 * len(datasets)), layout="constrained")
    panels = figure.subplots(len(datasets), 2, squeeze=False, sharey="row")
    for row, (dataset, group) in zip(panels, datasets, strict=True):
        noise = group.groupby("noise")["samples"].nunique().idxmax()
        count = group[group["samples"] > 1].groupby("samples")["sigma"].nunique().idxmax()
        by_samples, by_sigma = group[group["noise"] == noise], group[group["samples"] == count]
        for axes, part, x in ((row[0], by_samples, "samples"), (row[1], by_sigma, "sigma")):
            for i, (model, lines) in enumerate(part.groupby("model")):
                for combine, line in lines.groupby("combine"):
                    style = "-" if combine == "mean_log_likelihood" else ":"
                    name = f"{model}, {str(combine).replace('_', ' ')}"
                    line = line.sort_values(x)
                    axes.plot(line[x], line["top1"], style, color=f"C{i}", marker="o", markersize=3, label=name)
            axes.set(xlabel=x, xscale="log")
        row[0].set(title=f"{dataset}, noise {noise}", ylabel="top-1")
        row[1].set(title=f"{dataset}, {count} samples")
        row[0].legend(frameon=False, fontsize="small")
    save_figure(path, figure)


def strategy_labels(rows: pd.DataFrame) -> list[str]:
    """The name of each row's line: its strategy, with a rival's own name in the place of "family"."""
    pairs = zip(rows["strategy"], rows["classifier"], strict=True)
    return [strategy.replace("family", classifier, 1) for strategy, classifier in pairs]


def plot_incremental(path: str | Path, table: pd.DataFrame) -> None:
    """The average accuracy on the tasks so far against the tasks learned: a panel per data set and number of tasks."""
    groups = list(table[table["measure"] == "average"].groupby(["dataset", "tasks"]))
    figure = Figure(figsize=(6.5, 4 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, ((dataset, tasks), group) in zip(panels, groups, strict=True):
        for i, (label, line) in enumerate(group.groupby(strategy_labels(group))):
            x = line["after_task"] + 0.03 * (i - 3)  # so that the intervals can be told apart
            error = [line["mean"] - line["low"], line["high"] - line["mean"]]
            axes.errorbar(x, line["mean"], error, marker="o", markersize=3, capsize=2, label=label)
        axes.set(title=f"{dataset}, {tasks} tasks", xlabel="tasks learned", ylabel="average accuracy", ylim=(0, 1))
        axes.set_xticks(sorted(group["after_task"].unique()))
        axes.legend(frameon=False, fontsize="small")
    save_figure(path, figure)


def plot_explanation(path: str | Path, rows: pd.DataFrame, means: dict[int, Any]) -> None:
    """Mean probability of the target against the share of pixels: a panel per data set, model, judge, curve and
    substrate; a line per method. means: position of a row -> its mean curve."""
    groups = list(rows.groupby(["dataset", "model", "judge", "curve", "substrate"]))
    figure = Figure(figsize=(5.5 * min(2, len(groups)), 4 * -(-len(groups) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(groups) // 2), min(2, len(groups)), squeeze=False).ravel()
    for axes, ((dataset, model, judge, curve, substrate), group) in zip(panels, groups, strict=False):
        for n, (i, row) in enumerate(group.iterrows()):
            mean = means[i]  # type: ignore[index]
            style = "-" if str(row["method"]).startswith("tmi") else (":" if row["method"] in CONTROLS else "--")
            axes.plot(np.linspace(0, 1, len(mean)), mean, style, color=f"C{n % 10}", label=row["method"])
        axes.set(title=f"{dataset}, {model}\n{curve} ({substrate}), judge {judge}", ylim=(0, 1))
        axes.set(xlabel=f"share of pixels {'shown' if curve == 'insertion' else 'removed'}", ylabel="probability")
        axes.legend(frameon=False, fontsize="small")
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    save_figure(path, figure)


def plot_contrast(path: str | Path, table: pd.DataFrame) -> None:
    """AUC with its interval, a row per map: a panel per data set, model, pairs and split.

    table: tables/contrast.csv.
    """
    areas = table[table["measure"] == "auc"]
    groups = list(areas.groupby(["dataset", "model", "pairs"], sort=False))
    splits = list(areas["split"].unique())
    rows = areas.groupby(["dataset", "model", "pairs", "split"]).size().max()
    figure = Figure(figsize=(3 * len(splits) + 2, (0.22 * rows + 1) * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), len(splits), squeeze=False, sharey="row", sharex=True)
    for line, ((dataset, model, pairs), group) in zip(panels, groups, strict=True):
        names = list(dict.fromkeys(group["method"] + ", " + group["sign"]))
        for axes, split in zip(line, splits, strict=True):
            part = group[group["split"] == split]
            y = [names.index(name) for name in part["method"] + ", " + part["sign"]]
            error = [part["mean"] - part["low"], part["high"] - part["mean"]]
            axes.errorbar(part["mean"], y, xerr=error, fmt="o", markersize=3, capsize=2)
            axes.axvline(0.5, color="0.7", linestyle="--")
            axes.set(title=f"{dataset}, {model}, {pairs}\n{split}", xlabel="AUC")
        line[0].set_yticks(range(len(names)), names)
        line[0].invert_yaxis()
    save_figure(path, figure)


def plot_robustness(path: str | Path, table: pd.DataFrame) -> None:
    """Top-1 against severity, 0 without a shift: a panel per data set and shift, a line per classifier.

    table: tables/robustness.csv.
    """
    clean: Any = table[table["shift"].isna()].set_index(["dataset", "classifier"])["top1"]
    single = table[table["shift"].notna() & (table["severity"] != "mean")]
    groups = list(single.groupby(["dataset", "shift"], sort=False))
    across, down = min(5, len(groups)), -(-len(groups) // 5)
    figure = Figure(figsize=(3 * across + 1, 2.8 * down + 1), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    colours = {name: f"C{i}" for i, name in enumerate(single["classifier"].unique())}
    lines: dict[str, Any] = {}
    for axes, ((dataset, shift), group) in zip(panels, groups, strict=False):
        for classifier, line in group.groupby("classifier", sort=False):
            severities, top1 = [0, *line["severity"].astype(int)], [clean[dataset, classifier], *line["top1"]]
            drawn = axes.plot(severities, top1, marker="o", markersize=3, color=colours[classifier], label=classifier)
            lines.setdefault(str(classifier), drawn[0])
        axes.set(title=f"{dataset}, {str(shift).replace('_', ' ')}", xlabel="severity", ylim=(0, 1))
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    figure.supylabel("top-1")
    figure.legend(handles=list(lines.values()), loc="outside lower center", ncols=6, frameon=False)
    save_figure(path, figure)
