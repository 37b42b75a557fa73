import re

import numpy as np
import pandas as pd

from varc.metrics.confusion import MOST, confusion, confusion_rows, most_confused, plot_confusion

NAMES = {3: "cat", 5: "dog", 7: "owl", 8: "barn owl"}


def predicted(*pairs):
    labels, found = zip(*pairs, strict=True)
    return pd.DataFrame({"label": labels, "prediction": found})


def test_a_matrix_by_hand():
    found = confusion(predicted((3, 3), (3, 5), (3, 5), (5, 5), (5, 8)), {7: 7, 8: 7})
    assert found.class_ids.tolist() == [3, 5, 7]
    assert found.counts.tolist() == [[1, 2, 0], [0, 1, 1], [0, 0, 0]]
    assert np.isnan(found.shares[2]).all() and found.shares[0].tolist() == [1 / 3, 2 / 3, 0]
    rows = confusion_rows(found, NAMES)
    assert [(row["label_name"], row["prediction_name"], row["images"]) for row in rows] == [
        ("cat", "dog", 2),
        ("dog", "owl", 1),
    ]
    assert (rows[0]["label"], rows[0]["prediction"], rows[0]["share"]) == (3, 5, 2 / 3)


def test_of_many_classes_those_with_most_mistakes_are_shown():
    labels = np.arange(100)
    wrong = [(90, 80), (90, 80), (7, 6), *((label, label + 1) for label in range(20, 60, 2))]
    found = confusion(predicted(*((i, i) for i in labels), *wrong), {})
    shown = set(most_confused(found).tolist())
    assert len(shown) == MOST and {90, 80, 7, 6} <= shown <= {90, 80, 7, 6, *range(20, 60)}
    assert most_confused(confusion(predicted((0, 0), (1, 0), (2, 2)), {})).tolist() == [0, 1, 2]


def test_the_picture_names_classes_and_takes_no_name_for_a_formula(tmp_path):
    found = confusion(predicted((0, 0), (0, 1), (1, 1), (2, 2)), {})
    plot_confusion(tmp_path / "a.svg", [("varc on animals", found, {0: "$x_", 1: "<b>", 2: "owl"})])
    text = (tmp_path / "a.svg").read_text()
    told = re.findall(r"<!-- (.*?) -->", text)  # what matplotlib writes beside the shapes of letters
    assert {"$x_", "owl", "50", "100"} <= set(told)
    assert "<b>" not in text


def test_no_mistakes_at_all(tmp_path):
    found = confusion(predicted((0, 0), (1, 1)), {})
    assert confusion_rows(found, NAMES) == []
    plot_confusion(tmp_path / "a.svg", [("varc on animals", found, {0: "a", 1: "b"})])
    assert (tmp_path / "a.svg").stat().st_size
