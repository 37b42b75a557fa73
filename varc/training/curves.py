"""Training curves as CSV and SVG."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from varc.files import save_figure, write_csv
from varc.training.loop import Curve

SMOOTHING_STEPS = 25


def write_curve(path: str | Path, curve: Curve) -> None:
    """One row per step; a loss is empty in steps that did not have it."""
    write_csv(path, pd.DataFrame(curve), "%.6g")


def plot_curve(path: str | Path, curve: Curve, loss: str, unit: str) -> None:
    """One loss against the steps, raw and as a moving average."""
    data = pd.DataFrame(curve)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(data["step"], data[loss], color="0.8", linewidth=0.8, label="each step")
    axes.plot(data["step"], data[loss].rolling(SMOOTHING_STEPS).mean(), label=f"mean of {SMOOTHING_STEPS} steps")
    axes.set(xlabel="step", ylabel=f"{loss} ({unit})", yscale="log")
    axes.legend(frameon=False)
    save_figure(path, figure)


def plot_finetuning(path: str | Path, curve: Curve) -> None:
    """Loss, log-ratios to the reference, and validation accuracy against the steps, as far as the curve has them."""
    data = pd.DataFrame(curve)
    panels = [
        ([name for name in names if name in data and data[name].notna().any()], unit)
        for names, unit in (
            (["loss"], "loss"),
            (["log_ratio", "log_ratio_negative"], "log ratio (nats per image)"),
            (["validation_accuracy"], "VARC's top-1, validation"),
        )
    ]
    panels = [panel for panel in panels if panel[0]]
    figure = Figure(figsize=(6, 2.4 * len(panels)), layout="constrained")
    for axes, (names, unit) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        for name in names:
            known = data[data[name].notna()]
            axes.plot(known["step"], known[name], marker="." if name == "validation_accuracy" else None, label=name)
        axes.set(xlabel="step", ylabel=unit)
        axes.legend(frameon=False)
    save_figure(path, figure)
