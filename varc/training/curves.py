"""Training curves as CSV and SVG."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from varc.training.loop import Curve

SMOOTHING_STEPS = 25


def write_curve(path: str | Path, curve: Curve) -> None:
    """One row per step; a loss is empty in steps that did not have it."""
    pd.DataFrame(curve).to_csv(path, index=False, float_format="%.6g")


def plot_curve(path: str | Path, curve: Curve, loss: str, unit: str) -> None:
    """One loss against the steps, raw and as a moving average."""
    data = pd.DataFrame(curve)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(data["step"], data[loss], color="0.8", linewidth=0.8, label="each step")
    axes.plot(data["step"], data[loss].rolling(SMOOTHING_STEPS).mean(), label=f"mean of {SMOOTHING_STEPS} steps")
    axes.set(xlabel="step", ylabel=f"{loss} ({unit})", yscale="log")
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
