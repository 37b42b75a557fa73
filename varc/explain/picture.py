"""Explanations as pictures: one row an image, maps in nats on one colour scale per row."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from varc.explain.faithfulness import Pixels
from varc.explain.tmi import tmi_map, weighted_maps
from varc.figures import styled, wrapped

COLOURS = "PuOr_r"  # diverging, and told apart by readers who are colour-blind: orange speaks for, purple against
PANEL_INCHES = 1.5
TITLE_POINTS = 7


class Row(NamedTuple):
    """One image explained. Maps (h, w) are signed and in nats; titles stand above their panels."""

    image: Pixels
    title: str
    maps: list[tuple[str, NDArray[np.float32]]]


class Located(NamedTuple):
    """A map beside the truth: a picture, one of the other class, where they differ, and the map (h, w)."""

    image: Pixels
    other: Pixels
    mask: NDArray[np.bool_]
    map: NDArray[np.float32]
    title: str


def scale_panels(per_token: NDArray[np.float32], patch_nums: Sequence[int]) -> list[tuple[str, NDArray[np.float32]]]:
    """What each scale adds to the TMI map of values per token (L,), coarse to fine; they sum to tmi_map."""
    maps = weighted_maps(per_token[None], patch_nums)[0]
    return [(f"scale {k + 1}: {p}x{p}", part) for k, (p, part) in enumerate(zip(patch_nums, maps, strict=True))]


def whole_panel(title: str, per_token: NDArray[np.float32], patch_nums: Sequence[int]) -> tuple[str, NDArray]:
    """The TMI map of values per token (L,), with their sum, the difference of two log-likelihoods, in its title."""
    total = per_token.sum(dtype=np.float64)
    return f"{title}\n{total:+.1f} nats", tmi_map(per_token[None], patch_nums)[0]


def above(title: str) -> str:
    """A title in lines that are no wider than a panel."""
    return wrapped(title, PANEL_INCHES - 0.1, TITLE_POINTS)


@styled
def draw(rows: Sequence[Row]) -> Figure:
    """A figure of explanations. Within a row all maps share a scale, symmetric about 0, with a colour bar."""
    columns = 1 + max(len(row.maps) for row in rows)
    titles = [[above(title) for title in (row.title, *(name for name, _ in row.maps))] for row in rows]
    lines = max(title.count("\n") + 1 for row in titles for title in row)
    size = PANEL_INCHES * (columns + 0.5), (PANEL_INCHES + 0.25 + lines * 1.25 * TITLE_POINTS / 72) * len(rows)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row, above_it in zip(panels, rows, titles, strict=True):
        axes[0].imshow(row.image)
        for panel, title in zip(axes, above_it, strict=False):
            panel.set_title(title, fontsize=TITLE_POINTS, parse_math=False)  # a class may be named $a_$
        limit = max(float(np.abs(values).max()) for _, values in row.maps) or 1.0
        for panel, (_, values) in zip(axes[1:], row.maps, strict=False):
            drawn = panel.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")
        for panel in axes:
            panel.set_axis_off()
        bar = figure.colorbar(drawn, ax=axes.tolist(), shrink=0.8, pad=0.01)
        bar.ax.tick_params(labelsize=6)
        bar.set_label("nats, weighted", fontsize=6)
        for panel in axes:
            panel.set_anchor("S")  # which the bar changes: what is left above a square is its title's
    return figure


@styled
def draw_located(columns: Sequence[tuple[str, Sequence[Located]]], method: str) -> Figure:
    """A figure of maps beside the truth, by their absolute values, each from its least to its greatest.

    columns: titles, and what stands below them.
    """
    rows = max(len(shown) for _, shown in columns)
    size = 4.4 * PANEL_INCHES * len(columns), (PANEL_INCHES + 0.35) * rows + 0.5
    figure = Figure(figsize=size, dpi=110)
    for block, (title, shown) in zip(figure.subfigures(1, len(columns), squeeze=False)[0], columns, strict=True):
        block.suptitle(f"{title}: picture, other class, true difference, {method}", fontsize=9, parse_math=False)
        panels = block.subplots(rows, 4, squeeze=False)
        block.subplots_adjust(left=0.02, right=0.98, bottom=0.01, top=1 - 0.75 / figure.get_figheight(), hspace=0.25)
        for axes in panels.ravel():
            axes.set_axis_off()
        for axes, one in zip(panels, shown, strict=False):
            for panel, picture in zip(axes, (one.image, one.other), strict=False):
                panel.imshow(picture)
            axes[2].imshow(one.mask, cmap="gray", interpolation="nearest")
            axes[3].imshow(np.abs(one.map), cmap="magma", interpolation="nearest")
            axes[0].set_title(one.title, fontsize=TITLE_POINTS, loc="left", parse_math=False)  # a class may be named $
    return figure
