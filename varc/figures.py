"""What all figures share: one style, lines that are told apart, legends beside the data, labels that do not overlap."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from varc.files import whole

STYLE = Path(__file__).with_suffix(".mplstyle")
styled = rc_context(fname=STYLE)  # a decorator of what draws a figure; a user's own matplotlibrc has no say
GREY: dict[str, Any] = {"color": "0.55", "linewidth": 1.0, "zorder": 1.5}  # lines that are no data: bounds, frontiers
FRAME = 0.03  # around 0 and 1, so that no marker there is cut
TOO_WIDE = 5  # an axis whose largest value is so many times its least is logarithmic
ANGLES, DISTANCES = 24, 30  # where a label may stand around its point

Floats = NDArray[np.float64]


@styled
def save_figure(path: str | Path, figure: Figure) -> None:
    """Writes a figure in the format of the path's suffix; raises InputError as `whole` does.

    Equal figures are equal files: no date, names within an SVG that are not drawn anew each time, and axes where they
    were laid out to six digits: the last ones depend on where objects lie in memory, since kiwisolver sorts by that.
    """
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6).tolist())
    with whole(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], metadata={"Date": None})


def looks(names: Iterable[Any]) -> dict[Any, dict[str, Any]]:
    """Colour, marker and line style of each name, in the order of the names; no two look the same up to 28."""
    return dict(zip(dict.fromkeys(names), cycle(rcParams["axes.prop_cycle"]), strict=False))


def wrapped(text: str, inches: float, size: float = 9.0) -> str:
    """A text in lines that are no wider, as letters of that size are at most in the mean; no name is cut short."""
    width = max(8, int(inches * 72 / (0.62 * size)))
    return "\n".join(fill(line, width) for line in text.split("\n"))


def whiskers(middle: Any, low: Any, high: Any) -> Floats:
    """The lengths (2, N) of error bars from the ends of an interval; NaN where there is none."""
    middle, low, high = (np.asarray(values, np.float64) for values in (middle, low, high))
    return np.maximum(np.stack([middle - low, high - middle]), 0.0)  # an end that rounding puts beyond it


def dodged(x: Any, i: int, n: int, total: float) -> Floats:
    """Positions of line i of n moved a little, by `total` from first to last, to tell their intervals apart."""
    return np.asarray(x, np.float64) + total * ((i + 0.5) / n - 0.5)


def whole_share(axis: Any) -> None:
    """Limits of an axis of shares from 0 to 1, with room for markers at both ends."""
    axis.axes.set(**{f"{axis.axis_name}lim": (-FRAME, 1 + FRAME)})


def part_of_share(axis: Any) -> None:
    """No tick of an axis of shares below 0 or above 1; its limits stay, with room for markers."""
    low, high = axis.get_view_interval()
    ticks = MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]).tick_values(max(low, 0.0), min(high, 1.0))
    axis.set_ticks([tick for tick in ticks if max(low, -1e-9) <= tick <= min(high, 1 + 1e-9)])
    axis.axes.set(**{f"{axis.axis_name}lim": (low, high)})


def wide_axis(axis: Any, values: Any) -> None:
    """Makes an axis of positive values logarithmic where they reach far; its ticks are plain numbers that fit."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known) or known.min() <= 0 or known.max() < TOO_WIDE * known.min():
        axis.set_major_locator(MaxNLocator(nbins=6))
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    few = known.max() < 100 * known.min()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: np.format_float_positional(value, 6, trim="-")))


def ticks_at(axis: Any, values: Any) -> None:
    """Ticks at the values themselves, but for those whose labels would stand over that of the one before."""
    scaled = axis.get_transform().transform(np.unique(np.asarray(values, np.float64)))
    shown: list[float] = []
    for value in scaled:
        if not shown or value - shown[-1] > 0.09 * (scaled[-1] - scaled[0]):
            shown.append(float(value))
    axis.set_ticks(axis.get_transform().inverted().transform(shown))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))


def legend_below(figure: Figure) -> None:
    """One legend of all panels below them, each name once, in as many columns as fit; the figure grows by it."""
    found = [pair for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    entries = {label: handle for handle, label in reversed(found)}
    names = list(dict.fromkeys(label for _, label in found))
    if not names:
        return
    inches = figure.get_figwidth()
    shown = [wrapped(name, inches - 1, 8) for name in names]

    options: Any = {"loc": "outside lower center", "handlelength": 3.2}
    for columns in range(min(6, len(names)), 0, -1):
        even = -(-len(names) // -(-len(names) // columns))  # as many in each row as the rows can have alike
        legend = figure.legend([entries[name] for name in names], shown, ncols=even, **options)
        box = legend.get_window_extent()
        if box.width <= figure.bbox.width - 10 or columns == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + box.height / figure.dpi)


def place_labels(axes: Axes, x: Sequence[float], y: Sequence[float], labels: Sequence[str], size: float = 7.5) -> None:
    """Labels of points (data coordinates; NaN has none) near them and inside the panel, none over another or a marker,
    and away from bars and lines where there is room; a thin line leads to a label that stands apart.

    Call it last: it takes the layout as it is. adjustText and textalloc leave overlaps or the frame with twenty points
    that nearly coincide.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    points = axes.transData.transform(np.column_stack([x, y]).astype(np.float64))
    known = np.flatnonzero(np.isfinite(points).all(1)).tolist()
    panel = axes.get_window_extent().extents + np.array([2, 2, -2, -2])
    points, names = points[known], [wrapped(labels[i], (panel[2] - panel[0]) / 72 / 2, size) for i in known]
    options: Any = {"textcoords": "offset points", "annotation_clip": False, "fontsize": size, "parse_math": False}
    made = [axes.annotate(name, (x[i], y[i]), (0, 0), **options) for i, name in zip(known, names, strict=True)]
    sizes = [text.get_window_extent().size for text in made]
    taken = [np.concatenate([point - 4, point + 4]) for point in points]  # the markers, then labels
    lines = [box for box in line_boxes(axes) if np.isfinite(box).all()]
    for i in crowded_first(points):
        boxes, gaps = boxes_around(points[i], *sizes[i], reach=float(np.hypot(*(panel[2:] - panel[:2]))))
        inside = ((boxes[:, :2] >= panel[:2]) & (boxes[:, 2:] <= panel[2:])).all(1)
        ends = np.clip(points[i], boxes[:, :2], boxes[:, 2:])
        leaders = leader_boxes(points[i], ends)  # (boxes, parts, 4)
        markers, texts = taken[: len(points)], taken[len(points) :]
        across = 20.0 * crossed(leaders, markers) + 200.0 * crossed(leaders, texts) + 5.0 * crossed(leaders, lines)
        over, on_lines = (touch(boxes, np.array(those).reshape(-1, 4)).sum(1) for those in (taken, lines))
        best = int((gaps + 8.0 * on_lines + across + 1e4 * over + 1e6 * ~inside).argmin())
        taken.append(boxes[best])
        made[i].set_position(tuple((boxes[best, :2] - points[i]) * 72 / figure.dpi))
        made[i].set(horizontalalignment="left", verticalalignment="bottom", in_layout=False)
        if gaps[best] > 7:
            lines += list(leaders[best])
            line = (ends[best] - points[i]) * 72 / figure.dpi
            where = axes.annotate(
                "", made[i].xy, tuple(line), textcoords="offset points", annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
            )  # fmt: skip
            where.set_in_layout(False)


def crowded_first(points: Floats) -> list[int]:
    """Positions of points (N, 2), those with the nearest neighbours first."""
    away = np.hypot(*(points[:, None] - points[None]).T)
    return list(np.argsort(np.sort(away, axis=1)[:, : min(4, len(points))].sum(1), kind="stable"))


def boxes_around(point: Floats, width: float, height: float, reach: float) -> tuple[Floats, Floats]:
    """Boxes (B, 4) of that size around a point, and how far (B,) each is from it."""
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    distance = np.geomspace(6.0, reach, DISTANCES)
    along = np.stack([np.cos(angle), np.sin(angle)], -1)  # (A, 2)
    half = np.array([width, height]) / 2
    middle = point + (along * half)[None] + along[None] * distance[:, None, None]  # an ellipse that grows
    middle = middle.reshape(-1, 2)
    boxes = np.concatenate([middle - half, middle + half], 1)
    return boxes, np.hypot(*(np.clip(point, boxes[:, :2], boxes[:, 2:]) - point).T)


def leader_boxes(point: Floats, ends: Floats) -> Floats:
    """Points of the lines from a point to each of the ends (B, 2), as small boxes (B, 12, 4)."""
    steps = np.linspace(0.1, 0.95, 12)[None, :, None]
    at = point + steps * (ends - point)[:, None]
    return np.concatenate([at - 0.5, at + 0.5], -1)


def touch(boxes: Floats, others: Floats) -> NDArray[np.bool_]:
    """Which of the other boxes (O, 4) each of the boxes (B, 4) overlaps (B, O); a pixel between them is asked."""
    apart = (boxes[:, None, :2] > others[None, :, 2:] + 1) | (boxes[:, None, 2:] < others[None, :, :2] - 1)
    return np.asarray(~apart.any(-1))


def crossed(leaders: Floats, others: Sequence[Floats]) -> NDArray[np.intp]:
    """How many of the other boxes each leader, of boxes (B, parts, 4), touches (B,)."""
    found = touch(leaders.reshape(-1, 4), np.array(others).reshape(-1, 4))
    return np.asarray(found.reshape(*leaders.shape[:2], -1).any(1).sum(1))


def line_boxes(axes: Axes) -> Iterator[Floats]:
    """What lines and error bars of a panel cover: a box for every straight part."""
    paths = [line.get_transform().transform(line.get_xydata()) for line in axes.lines if line.get_linestyle() != "None"]
    for bars in axes.collections:
        paths += [bars.get_transform().transform(path.vertices) for path in bars.get_paths()]
    for path in paths:
        for one, other in pairwise(path):
            yield np.concatenate([np.minimum(one, other), np.maximum(one, other)])
