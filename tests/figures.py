"""What is asked of every figure, by matplotlib's own geometry."""

from itertools import combinations

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Text

from varc.figures import styled

EDGE = 1.0  # pixels (1/72 inch) that letters may pass what they are measured by


def ticks(axis):
    """Labels of an axis that are drawn."""
    low, high = sorted(axis.get_view_interval())
    near = 1e-9 * (high - low)
    drawn = [t for t in [*axis.get_major_ticks(), *axis.get_minor_ticks()] if low - near <= t.get_loc() <= high + near]
    return {t.label1 for t in drawn}, {t.label1 for t in [*axis.get_major_ticks(), *axis.get_minor_ticks()]}


def texts(figure):
    """Text and box of all that is written."""
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            shown, every = ticks(axis)
            hidden |= every - shown if axes.axison else every
        hidden |= set() if axes.axison else {axes.xaxis.label, axes.yaxis.label}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]
    return [(t.get_text(), Text.get_window_extent(t)) for t in found]


def look(handle):
    """Colour, line style and marker of what a legend names."""
    line = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
    return to_hex(line.get_color()), line.get_linestyle(), line.get_marker()


def inside(box, frame):
    return (
        box.x0 >= frame.x0 - EDGE
        and box.x1 <= frame.x1 + EDGE
        and box.y0 >= frame.y0 - EDGE
        and box.y1 <= frame.y1 + EDGE
    )


def overlap(one, other):
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    return across > EDGE and min(one.y1, other.y1) - max(one.y0, other.y0) > EDGE


@styled
def faults(figure):
    """What is wrong with a figure, in words; empty where nothing is."""
    figure.draw_without_rendering()
    written, found = texts(figure), []
    found += [f"{text!r} leaves the figure" for text, box in written if not inside(box, figure.bbox)]
    found += [f"{a!r} over {b!r}" for (a, p), (b, q) in combinations(written, 2) if overlap(p, q)]
    for axes in figure.axes:
        if not axes.axison:
            continue
        frame = axes.get_window_extent()
        for line in axes.lines:
            at = line.get_transform().transform(np.ma.filled(np.ma.masked_invalid(line.get_xydata()), np.nan))
            radius = line.get_markersize() / 2 if line.get_marker() not in ("None", "", None) else 0
            at = at[np.isfinite(at).all(1)]
            if line.get_transform() != axes.transData or not len(at):
                continue
            if (at - radius < frame.min - EDGE).any() or (at + radius > frame.max + EDGE).any():
                found.append(f"{line.get_label()}: a point is cut")
        for bars in axes.collections:
            for path in bars.get_paths():
                at = bars.get_transform().transform(path.vertices)
                at = at[np.isfinite(at).all(1)]
                if (at < frame.min - EDGE).any() or (at > frame.max + EDGE).any():
                    found.append(f"{axes.get_title()}: an interval is cut")
        handles, names = axes.get_legend_handles_labels()
        styles = [look(handle) for handle in handles if not hasattr(handle, "get_paths")]
        found += [f"{name}: two lines" for name in set(names) if names.count(name) > 1]
        found += [f"{style}: two lines look so" for style in set(styles) if styles.count(style) > 1]
        if axes.get_legend():
            found.append(f"{axes.get_title()}: a legend over the data")
        for legend in figure.legends:
            if overlap(legend.get_window_extent(), axes.get_tightbbox()):
                found.append("the legend over a panel")
    for legend in figure.legends:
        named = [text.get_text() for text in legend.get_texts()]
        styles = [look(h) for h in legend.legend_handles if hasattr(h, "get_marker")]
        found += [f"{name}: twice in the legend" for name in set(named) if named.count(name) > 1]
        found += [f"{style}: twice in the legend" for style in set(styles) if styles.count(style) > 1]
    return found


def error_bars(figure):
    """How many intervals are drawn: points with bars, and bands."""
    bars = [c for axes in figure.axes for c in axes.containers if isinstance(c, ErrorbarContainer)]
    drawn = [np.asarray(s) for c in bars for s in c.lines[2][0].get_segments()]
    return sum(bool(len(s)) and bool(np.isfinite(s).all()) for s in drawn)
