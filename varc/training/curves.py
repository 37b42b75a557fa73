"""Training curves as CSV and SVG."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varc.files import save_figure, write_csv
from varc.training.loop import Curve

SMOOTHING_STEPS = 25


def write_curve(path: str | Path, curve: Curve) -> None:
    """One row per step; a loss is empty in steps that did not have it."""
    write_csv(path, pd.DataFrame(curve), "%.6g")


def plot_curve(path: str | Path, curve: Curve, loss: str, unit: str, validated: str) -> None:
    """One loss against the steps, raw and as a moving average, with its column `validated` in the same unit, and the
    validation accuracy below; both as far as the curve has them."""
    data = pd.DataFrame(curve)
    panels = 2 if "validation_accuracy" in data else 1
    figure = Figure(figsize=(6, 1 + 2.5 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
    axes[0].plot(data["step"], data[loss], color="0.8", linewidth=0.8, label="each step")
    axes[0].plot(data["step"], data[loss].rolling(SMOOTHING_STEPS).mean(), label=f"mean of {SMOOTHING_STEPS} steps")
    axes[0].set(xlabel="step", ylabel=f"{loss} ({unit})", yscale="log")
    if validated in data:
        plot_known(axes[0], data, validated, "validation")
    axes[0].legend(frameon=False)
    if panels > 1:
        plot_known(axes[1], data, "validation_accuracy", "validation")
        axes[1].set(xlabel="step", ylabel="VARC's top-1, validation")
    save_figure(path, figure)


def plot_known(axes: Axes, data: pd.DataFrame, name: str, label: str) -> None:
    """A column against the steps that have it; a validation's with a point for each."""
    known = data[data[name].notna()]
    axes.plot(known["step"], known[name], marker="." if name.startswith("validation_") else None, label=label)


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
    for axes, (names, unit) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        for name in names:
            plot_known(axes, data, name, name)
        axes.set(xlabel="step", ylabel=unit)
        axes.legend(frameon=False)
    save_figure(path, figure)
