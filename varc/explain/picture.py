"""Explanations as pictures: one row an image, maps in nats on one colour scale per row."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from varc.explain.faithfulness import Pixels
from varc.explain.tmi import tmi_map, weighted_maps

COLOURS = "PuOr_r"  # diverging, and told apart by readers who are colour-blind: orange speaks for, purple against
PANEL_INCHES = 1.5


class Row(NamedTuple):
    """One image explained. Maps (h, w) are signed and in nats; titles stand above their panels."""

    image: Pixels
    title: str
    maps: list[tuple[str, NDArray[np.float32]]]


def scale_panels(per_token: NDArray[np.float32], patch_nums: Sequence[int]) -> list[tuple[str, NDArray[np.float32]]]:
    """What each scale adds to the TMI map of values per token (L,), coarse to fine; they sum to tmi_map."""
    maps = weighted_maps(per_token[None], patch_nums)[0]
    return [(f"scale {k + 1}: {p}x{p}", part) for k, (p, part) in enumerate(zip(patch_nums, maps, strict=True))]


def whole_panel(title: str, per_token: NDArray[np.float32], patch_nums: Sequence[int]) -> tuple[str, NDArray]:
    """The TMI map of values per token (L,), with their sum, the difference of two log-likelihoods, in its title."""
    total = per_token.sum(dtype=np.float64)
    return f"{title}\n{total:+.1f} nats", tmi_map(per_token[None], patch_nums)[0]


def draw(rows: Sequence[Row]) -> Figure:
    """A figure of explanations. Within a row all maps share a scale, symmetric about 0, with a colour bar."""
    columns = 1 + max(len(row.maps) for row in rows)
    size = PANEL_INCHES * (columns + 0.5), (PANEL_INCHES + 0.6) * len(rows)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row in zip(panels, rows, strict=True):
        axes[0].imshow(row.image)
        axes[0].set_title(row.title, fontsize=7, parse_math=False)  # a class may be named $a_$
        limit = max(float(np.abs(values).max()) for _, values in row.maps) or 1.0
        for panel, (title, values) in zip(axes[1:], row.maps, strict=False):
            drawn = panel.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")
            panel.set_title(title, fontsize=7, parse_math=False)
        for panel in axes:
            panel.set_axis_off()
        bar = figure.colorbar(drawn, ax=axes.tolist(), shrink=0.8, pad=0.01)
        bar.ax.tick_params(labelsize=6)
        bar.set_label("nats, weighted", fontsize=6)
    return figure
