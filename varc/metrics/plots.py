"""Plots of the tables, as SVG; those that a table alone tells: python -m varc.metrics.plots main main.csv main.svg."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varc.errors import counted
from varc.figures import (
    GREY,
    dodged,
    legend_below,
    looks,
    part_of_share,
    place_labels,
    save_figure,
    styled,
    ticks_at,
    whiskers,
    whole_share,
    wide_axis,
    wrapped,
)
from varc.metrics.calibration import Reliability

CONTROLS = ("random", "centre", "edge", "ink", "mean_mask")
ACROSS = 5  # panels of shifts in a row
NAMES = 3  # inches that names of maps may take
MOST_SCALES = 10  # lines of a panel


def stacked(panels: int, width: float = 7.0, height: float = 3.8) -> tuple[Figure, list[Axes]]:
    """A figure of panels, one below the other; sizes in inches."""
    figure = Figure(figsize=(width, height * panels), layout="constrained")
    return figure, list(figure.subplots(panels, 1, squeeze=False)[:, 0])


def best_so_far(points: pd.DataFrame) -> pd.DataFrame:
    """The Pareto frontier of points, by `gflops`: those that are better in `top1` than all cheaper ones."""
    ordered = points.dropna(subset=["gflops", "top1"]).sort_values(["gflops", "top1"], ascending=[True, False])
    return ordered[ordered["top1"] > ordered["top1"].cummax().shift(fill_value=-1.0)]


def spread(scales: Sequence[int]) -> list[int]:
    """The scales of a panel of plot_pruning: all but the last, whose best k are the full funnel, unless it is the
    only one, as a rival's; of many MOST_SCALES."""
    if len(some := list(scales[:-1])) > MOST_SCALES:
        some = [some[round(i * (len(some) - 1) / (MOST_SCALES - 1))] for i in range(MOST_SCALES)]
    return some or list(scales)


@styled
def plot_pruning(path: str | Path, pruning: pd.DataFrame) -> None:
    """Recall with its interval against cost: a panel per data set and model, a line per number of scales, along k.

    Of more than MOST_SCALES, as a rival's chunks may be, so many are drawn, evenly spread.
    """
    groups = list(pruning.groupby(["dataset", "model"], sort=False))
    figure, panels = stacked(len(groups))
    drawn = [spread(sorted(group["scales"].unique())) for _, group in groups]
    look = looks(sorted({scales for some in drawn for scales in some}))
    for axes, ((dataset, model), group), some in zip(panels, groups, drawn, strict=True):
        last = group["scales"].max()
        for scales, line in group.groupby("scales"):
            if scales in some:
                name = f"{counted(scales, 'scale')}, best k"
                axes.fill_between(
                    line["gflops"], line["recall_low"], line["recall_high"], color=look[scales]["color"], alpha=0.15
                )
                axes.plot(line["gflops"], line["recall"], **look[scales], markevery=0.1, label=name)
        full = group[group["scales"] == last]["gflops"].iloc[0]
        axes.axvline(full, **GREY, linestyle="--", label="all classes at all scales")
        axes.set(title=wrapped(f"{dataset}, {model}", 6), xlabel="GFLOPs per image (fvcore)")
        axes.set(ylabel="recall of the label")
        whole_share(axes.yaxis)
    legend_below(figure)
    save_figure(path, figure)


@styled
def plot_frontier(path: str | Path, adaptive: pd.DataFrame, fixed: dict[tuple[str, str], pd.DataFrame]) -> None:
    """Top-1 against scoring GFLOPs: a panel per data set and classifier; the best fixed funnels are a line.

    Fixed funnels that are far worse than all adaptive ones are left out.
    """
    figure, panels = stacked(len(fixed))
    for axes, ((dataset, classifier), points) in zip(panels, fixed.items(), strict=True):
        group = adaptive[(adaptive["dataset"] == dataset) & (adaptive["classifier"] == classifier)]
        group = group.sort_values("scoring_gflops")
        lowest = min(group["top1_low"].min(), group["top1"].min() - 0.1)
        shown = points[points["top1"] >= lowest]
        best = best_so_far(shown)
        axes.plot(shown["gflops"], shown["top1"], ".", color="0.8", label="two fixed stages")
        axes.plot(best["gflops"], best["top1"], **GREY, marker="", drawstyle="steps-post", label="the best of them")
        error = whiskers(group["top1"], group["top1_low"], group["top1_high"])
        axes.errorbar(group["scoring_gflops"], group["top1"], error, **looks(["adaptive"])["adaptive"],
                      label="adaptive, a point for each alpha")  # fmt: skip
        axes.set(title=wrapped(f"{dataset}, {classifier}", 6), xlabel="scoring GFLOPs per image (fvcore)")
        axes.set(ylabel="top-1")
        wide_axis(axes.xaxis, pd.concat([group["scoring_gflops"], shown["gflops"]]))
        part_of_share(axes.yaxis)
    legend_below(figure)
    save_figure(path, figure)


@styled
def plot_reliability(path: str | Path, curves: dict[str, Reliability]) -> None:
    """Accuracy with its interval against confidence, by title."""
    figure, (axes,) = stacked(1, 5.5, 4.5)
    axes.plot([0, 1], [0, 1], **GREY, linestyle="--", marker="", label="as sure as it is right")
    for title, look in looks(curves).items():
        bins = curves[title]
        error = whiskers(bins.accuracy, bins.low, bins.high)
        axes.errorbar(bins.confidence, bins.accuracy, error, **look, elinewidth=0.6, label=title)
    axes.set(xlabel="confidence", ylabel="accuracy")
    whole_share(axes.xaxis)
    whole_share(axes.yaxis)
    legend_below(figure)
    save_figure(path, figure)


@styled
def plot_main(path: str | Path, table: pd.DataFrame) -> None:
    """Top-1 with its interval against GFLOPs per image, a panel per data set, a colour and a marker per family; a line
    joins the classifiers that are better than all cheaper ones."""
    groups = list(table.groupby("dataset", sort=False))
    most = max(len(group) for _, group in groups)
    figure, panels = stacked(len(groups), 8, 4.2 + 0.06 * most)
    look = looks(sorted(table["family"].unique()))
    for axes, (dataset, group) in zip(panels, groups, strict=True):
        best = best_so_far(group.rename(columns={"gflops_per_image": "gflops"}))
        axes.plot(best["gflops"], best["top1"], **GREY, marker="", drawstyle="steps-post",
                  label="the best at this cost or less")  # fmt: skip
        for family, points in group.groupby("family"):
            error = whiskers(points["top1"], points["top1_low"], points["top1_high"])
            style = look[family] | {"linestyle": "none", "elinewidth": 0.9}
            axes.errorbar(points["gflops_per_image"], points["top1"], error, **style, label=family)
        axes.set(title=wrapped(str(dataset), 7), xlabel="GFLOPs per image (fvcore)", ylabel="top-1")
        wide_axis(axes.xaxis, group["gflops_per_image"])
        axes.margins(0.08)
        part_of_share(axes.yaxis)
    legend_below(figure)
    for axes, (_, group) in zip(panels, groups, strict=True):
        place_labels(axes, list(group["gflops_per_image"]), list(group["top1"]), list(group["classifier"]))
    save_figure(path, figure)


@styled
def plot_smoothing(path: str | Path, smoothing: pd.DataFrame) -> None:
    """Top-1 against the number of samples at one sigma, and against sigma at one number of samples, per data set; below
    it the paired difference to the clean sample alone, where the table has it."""
    datasets = list(smoothing.groupby("dataset", sort=False))
    shown = [("top1", "top1_low", "top1_high", "top-1")]
    if "vs_clean_difference" in smoothing:
        shown.append(("vs_clean_difference", "vs_clean_low", "vs_clean_high", "top-1 minus that of\nthe clean sample"))
    figure = Figure(figsize=(9, 3 * len(datasets) * len(shown)), layout="constrained")
    panels = figure.subplots(len(datasets) * len(shown), 2, squeeze=False, sharey="row")
    lines = [(m, c) for m in smoothing["model"].unique() for c in smoothing["combine"].unique()]
    look = looks(lines)
    rows = [(dataset, group, columns) for dataset, group in datasets for columns in shown]
    for row, (dataset, group, (value, low, high, ylabel)) in zip(panels, rows, strict=True):
        noise = group.groupby("noise")["samples"].nunique().idxmax()
        several = group[group["samples"] > 1]
        count = (several if len(several) else group).groupby("samples")["sigma"].nunique().idxmax()
        by_samples, by_sigma = group[group["noise"] == noise], group[group["samples"] == count]
        for axes, part, x in ((row[0], by_samples, "samples"), (row[1], by_sigma, "sigma")):
            for i, (model, combine) in enumerate(lines):
                line = part[(part["model"] == model) & (part["combine"] == combine)].sort_values(x)
                if not len(line):
                    continue
                at = line[x] * 1.12 ** dodged(0.0, i, len(lines), 1.0)
                error = whiskers(line[value], line[low], line[high])
                name = f"{model}, {str(combine).replace('_', ' ')}"
                axes.errorbar(at, line[value], error, **look[model, combine], elinewidth=0.8, label=name)
            axes.set_xlabel(x)
            wide_axis(axes.xaxis, part[x])
            ticks_at(axes.xaxis, part[x])
        if value == "top1":
            part_of_share(row[0].yaxis)
        else:
            for axes in row:
                axes.axhline(0.0, **GREY, linestyle="--")
        row[0].set(title=wrapped(f"{dataset}, noise {noise}", 4), ylabel=ylabel)
        row[1].set(title=wrapped(f"{dataset}, {counted(count, 'sample')}", 4))
    legend_below(figure)
    save_figure(path, figure)


def strategy_labels(rows: pd.DataFrame) -> list[str]:
    """The name of each row's line: its strategy, with a rival's own name in the place of "family"."""
    pairs = zip(rows["strategy"], rows["classifier"], strict=True)
    return [strategy.replace("family", classifier, 1) for strategy, classifier in pairs]


@styled
def plot_incremental(path: str | Path, table: pd.DataFrame) -> None:
    """The average accuracy on the tasks so far against the tasks learned: a panel per data set and number of tasks."""
    averages = table[table["measure"] == "average"]
    averages = averages.assign(line=strategy_labels(averages))
    groups = list(averages.groupby(["dataset", "tasks"], sort=False))
    figure, panels = stacked(len(groups), 7, 4)
    look = looks(sorted(averages["line"].unique()))
    for axes, ((dataset, tasks), group) in zip(panels, groups, strict=True):
        for i, (name, style) in enumerate(look.items()):
            line = group[group["line"] == name]
            if len(line):
                at = dodged(line["after_task"], i, len(look), 0.36)
                error = whiskers(line["mean"], line["low"], line["high"])
                axes.errorbar(at, line["mean"], error, **style, elinewidth=0.8, label=name)
        axes.set(title=wrapped(f"{dataset}, {counted(tasks, 'task')}", 6))
        axes.set(xlabel="tasks learned", ylabel="average accuracy")
        axes.set_xticks(sorted(group["after_task"].unique()))
        axes.grid(axis="x", visible=False)
        whole_share(axes.yaxis)
    legend_below(figure)
    save_figure(path, figure)


def method_names(rows: pd.DataFrame) -> list[str]:
    """The name of each row's map: the method, with its target and what it is told from where others differ in that."""
    pairs = rows["target"].astype(str) + " against " + rows["against"].astype(str).str.replace("_", " ")
    several = pairs.groupby(rows["method"]).nunique()
    return [m if several[m] == 1 else f"{m}, {pair}" for m, pair in zip(rows["method"], pairs, strict=True)]


def dot_panels(groups: list[tuple[Any, pd.DataFrame]], across: int, **shared: Any) -> tuple[Figure, Any]:
    """A figure with a row of panels for each group, high enough for a line of each of its names."""
    names = [list(dict.fromkeys(group["name"])) for _, group in groups]
    line = 0.07 + 0.13 * max(wrapped(name, NAMES).count("\n") + 1 for part in names for name in part)
    figure = Figure(figsize=(3 * across + 2, (line * max(map(len, names)) + 1.2) * len(groups)), layout="constrained")
    return figure, figure.subplots(len(groups), across, squeeze=False, sharey="row", **shared)


def dots(axes: Axes, names: list[str], rows: pd.DataFrame, own: str, middle: str, low: str, high: str) -> None:
    """Values with their intervals, each row at the line of its name (in column `own`); controls have another marker."""
    control = rows["method"].isin(CONTROLS) | rows["method"].astype(str).str.endswith("_randomised")
    for kind, look in looks(["method", "control"]).items():
        part = rows[control == (kind == "control")]
        error = whiskers(part[middle], part[low], part[high])
        y = [names.index(name) for name in part[own]]
        axes.errorbar(part[middle], y, xerr=error, **(look | {"linestyle": "none"}), label=kind)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    part_of_share(axes.xaxis)


@styled
def plot_explanation(path: str | Path, table: pd.DataFrame) -> None:
    """The area under insertion and deletion curves with its interval, a row per map, at temperature 1: panels side by
    side per curve and substrate, below each other per data set, model and judge. Dashed: the random map.

    table: tables/explanation.csv.
    """
    table = table[table["temperature"] == 1.0]
    table = table.assign(name=method_names(table))
    groups = list(table.groupby(["dataset", "model", "judge"], sort=False))
    kinds = list(dict.fromkeys(zip(table["curve"], table["substrate"], strict=True)))
    figure, panels = dot_panels(groups, len(kinds))
    for line, ((dataset, model, judge), group) in zip(panels, groups, strict=True):
        names = [name for _, part in group.groupby("method", sort=False) for name in dict.fromkeys(part["name"])]
        for axes, (curve, substrate) in zip(line, kinds, strict=True):
            part = group[(group["curve"] == curve) & (group["substrate"] == substrate)]
            random = part[part["method"] == "random"]["auc"]
            if len(random):
                axes.axvline(random.iloc[0], **GREY, linestyle="--")
            dots(axes, names, part, "name", "auc", "auc_low", "auc_high")
            axes.set(title=wrapped(f"{dataset}, {model}, judge {judge}\n{curve} ({substrate})", 2.7))
            axes.set(xlabel=f"AUC, {'more' if curve == 'insertion' else 'less'} is better")
        line[0].set_yticks(range(len(names)), [wrapped(name, NAMES) for name in names])
    legend_below(figure)
    save_figure(path, figure)


@styled
def plot_contrast(path: str | Path, table: pd.DataFrame) -> None:
    """AUC with its interval, a row per map: a panel per data set, model, pairs and split.

    table: tables/contrast.csv.
    """
    areas = table[table["measure"] == "auc"]
    areas = areas.assign(name=areas["method"] + ", " + areas["sign"])
    groups = list(areas.groupby(["dataset", "model", "pairs"], sort=False))
    splits = list(areas["split"].unique())
    figure, panels = dot_panels(groups, len(splits), sharex=True)
    for line, ((dataset, model, pairs), group) in zip(panels, groups, strict=True):
        names = list(dict.fromkeys(group["name"]))
        for axes, split in zip(line, splits, strict=True):
            axes.axvline(0.5, **GREY, linestyle="--")
            dots(axes, names, group[group["split"] == split], "name", "mean", "low", "high")
            axes.set(title=wrapped(f"{dataset}, {model}, {pairs}\n{split}", 2.7), xlabel="AUC")
        line[0].set_yticks(range(len(names)), [wrapped(name, NAMES) for name in names])
    legend_below(figure)
    save_figure(path, figure)


@styled
def plot_robustness(path: str | Path, table: pd.DataFrame) -> None:
    """Top-1 with its interval against severity, 0 without a shift: a panel per data set and shift, a line per
    classifier.

    table: tables/robustness.csv.
    """
    clean = table[table["shift"].isna()].assign(severity=0)
    single = table[table["shift"].notna() & (table["severity"] != "mean")]
    groups = list(single.groupby(["dataset", "shift"], sort=False))
    across, down = min(ACROSS, len(groups)), -(-len(groups) // ACROSS)
    figure = Figure(figsize=(max(2.2 * across + 0.6, 4), 2.5 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    look = looks(single["classifier"].unique())
    for axes, ((dataset, shift), group) in zip(panels.ravel(), groups, strict=False):
        own = clean[clean["dataset"] == dataset]
        for i, (classifier, style) in enumerate(look.items()):
            line = pd.concat([part[part["classifier"] == classifier] for part in (own, group)])
            if len(line):
                at = dodged(line["severity"].astype(int), i, len(look), 0.4)
                error = whiskers(line["top1"], line["top1_low"], line["top1_high"])
                axes.errorbar(at, line["top1"], error, **style, elinewidth=0.7, capsize=0, label=classifier)
        axes.set(title=wrapped(f"{dataset}, {str(shift).replace('_', ' ')}", 2.0), xlabel="severity")
        axes.set_xticks(sorted({0, *group["severity"].astype(int)}))
        axes.grid(axis="x", visible=False)
        whole_share(axes.yaxis)
    for axes in panels.ravel()[len(groups) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("top-1")
    legend_below(figure)
    save_figure(path, figure)


OF_TABLES: dict[str, Callable[[str | Path, pd.DataFrame], None]] = {
    "contrast": plot_contrast,
    "explanation": plot_explanation,
    "incremental": plot_incremental,
    "main": plot_main,
    "pruning": plot_pruning,
    "robustness": plot_robustness,
    "smoothing": plot_smoothing,
}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in OF_TABLES:
        raise SystemExit(f"usage: python -m varc.metrics.plots {{{','.join(OF_TABLES)}}} TABLE.csv PLOT.svg")
    OF_TABLES[sys.argv[1]](sys.argv[3], pd.read_csv(sys.argv[2]))
