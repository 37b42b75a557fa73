import numpy as np
from figures import faults

from varc.explain.picture import Located, Row, draw, draw_located


def test_names_of_classes_are_drawn_as_they_are(tmp_path):
    """Two dollar signs in a title would be mathematics, and $a_$ none that can be read."""
    image, values = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32)
    figure = draw([Row(image, "$a_$", [("$\\frac$ not $b^$", values)])])
    figure.savefig(tmp_path / "picture.png")
    assert [axes.get_title() for axes in figure.axes[:2]] == ["$a_$", "$\\frac$ not $b^$"]
    assert not figure.axes[0].title.get_parse_math()


def test_long_names_of_classes_stand_above_their_panels():
    image, values = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32)
    one, other = "Staffordshire bullterrier", "soft-coated wheaten terrier"
    title = f"{one}, seen as {other}\nlog p(x|y) -1234.5, next -1230.2\nmargin -4.3 nats"
    maps = [("label\n+12.3 nats", values), (f"label, not {other}\n-3.1 nats", values), ("scale 1: 1x1", values)]
    assert faults(draw([Row(image, title, maps)] * 2)) == []
    title = f"{one}, not {other}: AUC 0.913\nn02110185/ILSVRC2012_val_00012345.JPEG"
    located = Located(image, image, values > 0, values, title)
    assert faults(draw_located([("clearest", [located] * 2), ("worst", [located])], "kernel_shap_abs-b1000")) == []
