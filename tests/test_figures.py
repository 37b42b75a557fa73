"""What all figures share."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from figures import faults
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from varc.errors import counted
from varc.figures import STYLE, looks, place_labels, save_figure, styled, wrapped

# Machado, Oliveira and Fernandes (2009): how linear RGB looks to readers who lack one kind of cone
SEEN = {
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
WHITE = np.array([0.9505, 1.0, 1.089])


def lab(colour, seen):
    """CIELAB of a colour, as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    t = XYZ @ np.clip(np.array(SEEN[seen]) @ linear, 0, 1) / WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("seen", SEEN)
def test_colours_are_told_apart_by_readers_who_are_colour_blind(seen):
    colours = {look["color"] for look in styled(looks)(range(28)).values()}
    assert len(colours) == 7
    shown = [lab(colour, seen) for colour in colours] + [lab("white", seen)]
    assert min(np.linalg.norm(a - b) for a, b in combinations(shown, 2)) > 10  # 2.3 is just noticeable


def test_no_two_lines_and_no_two_points_look_the_same():
    found = list(styled(looks)(range(28)).values())
    for keys in (("color", "linestyle"), ("color", "marker")):
        assert len({tuple(look[key] for key in keys) for look in found}) == 28
    assert list(styled(looks)(["b", "a", "b"])) == ["b", "a"]


def test_one_is_not_plural():
    assert [counted(n, "scale") for n in (0, 1, 2)] == ["0 scales", "1 scale", "2 scales"]


def test_long_names_are_wrapped_and_whole():
    name = "a_name_without_any_space_in_it" * 3
    lines = wrapped(f"{name}\nsecond", 1).split("\n")
    assert "".join(lines[:-1]) == name and lines[-1] == "second" and max(map(len, lines)) == 12


@styled
def scatter(x, y, names, bars=0.1):
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.errorbar(x, y, bars, linestyle="none", marker="o")
    place_labels(axes, x, y, names)
    return figure


@pytest.mark.parametrize("spread", [0, 1e-3])
def test_labels_of_points_that_nearly_coincide_do_not_overlap(spread):
    x, y = np.random.default_rng(0).normal(size=(2, 20)) * spread
    figure = scatter(x, y, [f"name_of_classifier_{i}" for i in range(20)])
    assert faults(figure) == []
    (axes,) = figure.axes
    labels = [text for text in axes.texts if text.get_text()]
    frame = axes.get_window_extent()
    assert len(labels) == 20
    for label in labels:
        box = super(type(label), label).get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        assert not any(box.contains(*point) for point in axes.transData.transform(np.column_stack([x, y])))


def test_a_point_that_is_not_known_has_no_label():
    figure = scatter([0, np.nan, 1], [0, 1, 1], ["a", "b", "c"])
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text()] == ["a", "c"]


def test_a_lone_label_stands_beside_its_point():
    figure = scatter([0.5], [0.5], ["varc"])
    (label,) = figure.axes[0].texts
    assert 0 < np.hypot(*label.get_position()) < 40


def test_figures_are_the_same_whatever_a_user_has_set_up(tmp_path):
    points = [0.1, 0.1], [0.5, 0.5], ["varc", "a_varc_plus"]
    save_figure(tmp_path / "one.svg", scatter(*points))
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "none", "figure.dpi": 200}):
        save_figure(tmp_path / "other.svg", scatter(*points))
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    assert "dc:date" not in (tmp_path / "one.svg").read_text() and STYLE.is_file()


class Unsteady(ConstrainedLayoutEngine):
    """Lays out as matplotlib does, whose solver sorts variables by their addresses: last digits differ by chance."""

    def __init__(self, digit):
        super().__init__()
        self.digit = digit

    def execute(self, fig):
        super().execute(fig)
        for axes in fig.axes:
            box = axes.get_position(original=True)
            axes._set_position([box.x0 + self.digit, box.y0, box.width, box.height], which="original")


def test_a_figure_does_not_depend_on_where_its_objects_lie_in_memory(tmp_path):
    for i in (0, 1):
        figure = Figure(layout=Unsteady(i * 1e-15))
        axes = figure.add_subplot()
        axes.imshow(np.arange(100).reshape(10, 10))
        axes.plot([1, 5], [2, 4])
        save_figure(tmp_path / f"{i}.svg", figure)
    same = (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()
    assert same  # the files are too long to be shown
