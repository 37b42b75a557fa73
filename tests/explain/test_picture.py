import numpy as np

from varc.explain.picture import Row, draw


def test_names_of_classes_are_drawn_as_they_are(tmp_path):
    """Two dollar signs in a title would be mathematics, and $a_$ none that can be read."""
    image, values = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32)
    figure = draw([Row(image, "$a_$", [("$\\frac$ not $b^$", values)])])
    figure.savefig(tmp_path / "picture.png")
    assert [axes.get_title() for axes in figure.axes[:2]] == ["$a_$", "$\\frac$ not $b^$"]
    assert not figure.axes[0].title.get_parse_math()
