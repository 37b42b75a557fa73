"""Training curves as CSV and SVG."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from varc.figures import legend_below, looks, save_figure, styled, wide_axis
from varc.files import write_csv
from varc.training.loop import Curve

SMOOTHING_STEPS = 25


def write_curve(path: str | Path, curve: Curve) -> None:
    """One row per step; a loss is empty in steps that did not have it."""
    write_csv(path, pd.DataFrame(curve), "%.6g")


@styled
def plot_curve(path: str | Path, curve: Curve, loss: str, unit: str, validated: str) -> None:
    """One loss against the steps, raw and as a moving average, with its column `validated` in the same unit, and the
    validation accuracy below; both as far as the curve has them."""
    data = pd.DataFrame(curve)
    panels = 2 if "validation_accuracy" in data else 1
    figure = Figure(figsize=(6, 0.5 + 2.5 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
    look = looks(["mean", "validation"])
    axes[0].plot(data["step"], data[loss], color="0.8", linewidth=0.8, linestyle="-", marker="", label="each step")
    if len(data) >= SMOOTHING_STEPS:
        smooth = data[loss].rolling(SMOOTHING_STEPS, center=True).mean()
        name = f"mean of {SMOOTHING_STEPS} steps"
        axes[0].plot(data["step"], smooth, **(look["mean"] | {"marker": ""}), label=name)
    axes[0].set(xlabel="step", ylabel=f"{loss} ({unit})")
    known = [data[name] for name in (loss, validated) if name in data]
    if validated in data:
        plot_known(axes[0], data, validated, "validation", look["validation"])
    wide_axis(axes[0].yaxis, pd.concat(known))
    if panels > 1:
        plot_known(axes[1], data, "validation_accuracy", "validation", look["validation"])
        axes[1].set(xlabel="step", ylabel="VARC's top-1, validation")
    legend_below(figure)
    save_figure(path, figure)


def plot_known(axes: Axes, data: pd.DataFrame, name: str, label: str, look: dict[str, Any]) -> None:
    """A column against the steps that have it; a validation's with a point for each."""
    known = data[data[name].notna()]
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.plot(
        known["step"], known[name], **(look if name.startswith("validation_") else look | {"marker": ""}), label=label
    )


@styled
def plot_finetuning(path: str | Path, curve: Curve) -> None:
    """Loss, log-ratios to the reference, and validation figures against the steps, as far as the curve has them."""
    data = pd.DataFrame(curve)
    panels = [
        ([name for name in names if name in data and data[name].notna().any()], unit)
        for names, unit in (
            (["loss", "classification"], "loss"),
            (["log_ratio", "log_ratio_negative"], "log ratio (nats per image)"),
            (["validation_accuracy"], "VARC's top-1, validation"),
            (["nats_per_token", "validation_nats_per_token"], "nats per token"),
        )
    ]
    panels = [panel for panel in panels if panel[0]]
    figure = Figure(figsize=(6, 2.4 * len(panels)), layout="constrained")
    look = looks(name for names, _ in panels for name in names)
    for axes, (names, unit) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        for name in names:
            plot_known(axes, data, name, name, look[name])
        axes.set(xlabel="step", ylabel=unit)
    legend_below(figure)
    save_figure(path, figure)
