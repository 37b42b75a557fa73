"""Plots can be read, whatever stands in the tables; and those of docs/ show the tables of docs/."""

import re

import numpy as np
import pandas as pd
import pytest
from configs import ROOT
from figures import error_bars, faults, texts

import varc.metrics.plots as plots
from varc.metrics.calibration import Reliability

LONG = "varc_beta0p02_lambda50_lr0p0003_of_the_longest_name"
NEARLY = 0.84 + 0.0004 * np.arange(20)
HARD = {
    "many": (NEARLY, [f"classifier_{i}" for i in range(20)]),
    "long": (np.array([*NEARLY[:8], np.nan]), [f"{LONG}_{i}" for i in range(9)]),
    "one": (np.array([0.84]), ["varc"]),
    "ends": (np.array([1.0, 0.0, 1.0]), ["varc", "a_varc_plus", "vit"]),
}


def interval(values, name):
    """Columns of a share and its interval, which ends at 0 and 1."""
    values = np.asarray(values, float)
    return {name: values, f"{name}_low": np.maximum(values - 0.02, 0), f"{name}_high": np.minimum(values + 0.01, 1)}


def named(values, name, **ends):
    return pd.DataFrame(interval(values, name)).rename(columns=ends)


def rows(values, names, **columns):
    return pd.DataFrame({**interval(values, "top1"), "classifier": names, "dataset": "fashion", **columns})


def main(values, names):
    return rows(values, names, family=[f"family_{i % 12}" for i in range(len(names))], gflops_per_image=0.3)


def several(parts):
    return pd.concat(parts, ignore_index=True)


def robustness(values, names):
    clean = rows(values, names, shift=None, severity=None)
    shifted = [rows(values, names, shift=s, severity=v) for s in ("gaussian_noise", "blur") for v in "123"]
    return several([clean, *shifted, rows(values, names, shift="blur", severity="mean")])


def incremental(values, names):
    ends = {"average_low": "low", "average_high": "high", "average": "mean"}
    known = {"classifier": names, "strategy": names, "measure": "average", "dataset": "digits"}
    parts = [(tasks, task) for tasks in (1, 5) for task in range(1, tasks + 1)]
    return several([named(values, "average", **ends).assign(**known, tasks=t, after_task=n) for t, n in parts])


def explanation(values, names):
    known = {"method": names, "target": "label", "against": "unconditional", "dataset": "fashion", "model": "base"}
    kinds = [(j, *c) for j in ("varc", "cnn") for c in (("insertion", "blur"), ("deletion", "mean"))]
    part = named(values, "auc").assign(**known, temperature=1.0)
    part = several([part, part.assign(against="runner_up"), part.assign(temperature=5.1)])
    return several([part.assign(judge=j, curve=c, substrate=s) for j, c, s in kinds])


def contrast(values, names):
    known = {"method": names, "sign": "absolute", "dataset": "glyphs_test", "model": "base", "pairs": "pairs"}
    part = named(values, "auc", auc="mean", auc_low="low", auc_high="high").assign(**known, measure="auc")
    return several([part.assign(split=split) for split in ("all", "absent", "present")])


def smoothing(values, names):
    parts = []
    for noise, sigma, samples in (("a", 0.05, 1), ("a", 0.05, 19), ("a", 0.05, 20), ("b", 0.1, 20), ("c", 0.11, 20)):
        part = pd.DataFrame({**interval(values, "top1"), "model": names}).assign(noise=noise, samples=samples)
        part = part.assign(sigma=sigma, vs_clean_difference=values - 0.84)
        part = part.assign(vs_clean_low=values - 0.85, vs_clean_high=values - 0.82)
        parts += [part.assign(combine="mean_log_likelihood", dataset="fashion")]
    return several(parts)


def pruning(values, names):
    ends = {"top1": "recall", "top1_low": "recall_low", "top1_high": "recall_high"}
    part = rows(values, names).drop(columns="classifier").rename(columns=ends).assign(k=range(1, 1 + len(names)))
    three = [part.assign(model=names[0], scales=s, gflops=0.1 * s + 0.02 * part["k"]) for s in (1, 2, 3)]
    return several([*three, part.assign(model="rival", scales=1, gflops=0.3)])


INTERVALS = {  # of each name, in panels times points
    "contrast": 3,  # splits
    "explanation": 8,  # two judges, insertion and deletion, two that the map is told from
    "incremental": 6,  # after 1 of 1 task, and 1 to 5 of 5
    "main": 1,
    "pruning": 0,  # bands: see below
    "robustness": 8,  # two shifts; three severities, and none
    "smoothing": 12,  # top-1 and difference; three counts of samples, three sigmas
}
OF_TABLES = {name: (getattr(plots, f"plot_{name}"), globals()[name]) for name in INTERVALS}


def drawn(monkeypatch, plot, *tables):
    """The figure that a plot makes."""
    figures = []
    monkeypatch.setattr(plots, "save_figure", lambda path, figure: figures.append(figure))
    plot("plot.svg", *tables)
    return figures[0]


@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize("name", OF_TABLES)
def test_plots_of_tables_can_be_read(name, hard, monkeypatch):
    """Where the table has an interval, it is drawn."""
    (plot, table), (values, names) = OF_TABLES[name], HARD[hard]
    figure = drawn(monkeypatch, plot, table(values, names))
    assert faults(figure) == []
    assert error_bars(figure) == INTERVALS[name] * np.isfinite(values).sum()


def frontier(values, names):
    alphas = rows(values, "adaptive").assign(scoring_gflops=np.linspace(0.3, 2, len(values)))
    cloud = np.linspace(0, 1, 50)
    return alphas, {("fashion", "adaptive"): pd.DataFrame({"gflops": 0.1 + 3 * cloud, "top1": cloud})}


@pytest.mark.parametrize("hard", HARD)
def test_the_frontier_and_reliability_can_be_read(hard, monkeypatch):
    values, names = HARD[hard]
    figure = drawn(monkeypatch, plots.plot_frontier, *frontier(values, names))
    assert faults(figure) == [] and error_bars(figure) == np.isfinite(values).sum()
    confidence = np.linspace(0, 1, 5)
    curves = {
        f"fashion, {name}, before": Reliability(confidence, *np.full((3, 5), v), np.full(5, 9))._replace(
            low=np.full(5, max(v - 0.1, 0.0)), high=np.full(5, min(v + 0.1, 1.0))
        )
        for name, v in zip(names, values, strict=True)
    }
    figure = drawn(monkeypatch, plots.plot_reliability, curves)
    assert faults(figure) == [] and error_bars(figure) == 5 * np.isfinite(values).sum()


def test_the_interval_of_recall_is_a_band(monkeypatch):
    figure = drawn(monkeypatch, plots.plot_pruning, pruning(np.array([0.5, 0.7]), ["base", "x"]))
    (band, _) = figure.axes[0].collections
    low, high = band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()
    assert (low, high) == (pytest.approx(0.48), pytest.approx(0.71))


def test_one_scale_is_one_scale(monkeypatch):
    figure = drawn(monkeypatch, plots.plot_pruning, pruning(*HARD["many"]))
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["1 scale, best k", "2 scales, best k", "all classes at all scales"]
    assert [len(axes.lines) for axes in figure.axes] == [3, 2]  # a rival's only scale has its line
    figure = drawn(monkeypatch, plots.plot_incremental, incremental(*HARD["one"]))
    assert [axes.get_title() for axes in figure.axes] == ["digits, 1 task", "digits, 5 tasks"]


def test_of_many_chunks_some_are_drawn(monkeypatch):
    table = pd.concat([pruning(np.array([0.5]), ["base"]).query("scales == 1").assign(scales=i) for i in range(1, 65)])
    figure = drawn(monkeypatch, plots.plot_pruning, table)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(shown) == 11
    assert shown[:2] == ["1 scale, best k", "8 scales, best k"] and shown[-2] == "63 scales, best k"
    assert faults(figure) == []


def test_the_frontier_leaves_out_what_a_cheaper_one_beats():
    table = pd.DataFrame({"gflops": [3.0, 1.0, 2.0, 1.0, 4.0], "top1": [0.9, 0.6, 0.5, 0.7, np.nan]})
    assert plots.best_so_far(table).index.tolist() == [3, 0]


def test_maps_of_one_method_are_told_apart_by_what_they_are_told_from():
    table = explanation(np.array([0.5, 0.6]), ["tmi", "lime"])
    table = table[(table["method"] == "tmi") | (table["against"] == "unconditional")]
    assert set(plots.method_names(table)) == {
        "tmi, label against unconditional", "tmi, label against runner up", "lime",
    }  # fmt: skip


DOCS = {
    "study_main": "main",
    "study_robustness": "robustness",
    "fashion_smoothing": "smoothing",
    "digits_smoothing": "smoothing",
    "incremental": "incremental",
    "explanation_fashion": "explanation",
}


def written(svg):
    """What an SVG of matplotlib's says, line by line; letters are drawn, and stand in comments."""
    return re.findall(r"<!-- (.*?) -->", svg.read_text())


@pytest.mark.parametrize("name", DOCS)
def test_plots_of_docs_show_the_tables_of_docs(name, monkeypatch):
    figure = drawn(monkeypatch, plots.OF_TABLES[DOCS[name]], pd.read_csv(ROOT / f"docs/{name}.csv"))
    assert faults(figure) == []
    says = [line for text, _ in texts(figure) for line in text.split("\n")]
    assert sorted(says) == sorted(written(ROOT / f"docs/{name}.svg"))
