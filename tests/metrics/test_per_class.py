import numpy as np
import pandas as pd
import pytest

from varc.metrics.accuracy import wilson_interval
from varc.metrics.per_class import per_class_rows

NAMES = {3: "cat", 5: "dog", 7: "owl", 8: "barn owl"}


def predicted(pairs, ranks=None):
    """Predictions of (label, prediction)."""
    labels, found = zip(*pairs, strict=True)
    ranks = ranks or [1 if label == one else 2 for label, one in pairs]
    return pd.DataFrame({"label": labels, "prediction": found, "rank_stage1": pd.array(ranks, "Int32")})


def test_each_class_by_hand():
    rows = per_class_rows(predicted([(3, 3), (3, 7), (3, 5), (3, 5), (5, 5), (5, 3)]), NAMES, {})
    assert [row["name"] for row in rows] == ["cat", "dog"]  # the owl has no images
    cat, dog = rows
    assert (cat["class_id"], cat["images"], cat["top1"], cat["unit"], cat["predicted"]) == (3, 4, 0.25, "image", 2)
    assert (cat["top1_low"], cat["top1_high"]) == wilson_interval(1, 4)
    assert (cat["taken_for"], cat["taken_for_images"]) == ("dog", 2)
    assert (dog["top1"], dog["predicted"], dog["taken_for"], dog["taken_for_images"]) == (0.5, 3, "cat", 1)


def test_of_equals_the_smallest_class_id_and_nothing_where_all_are_right():
    found = per_class_rows(predicted([(5, 7), (5, 3), (7, 7)]), NAMES, {})
    assert [(row["taken_for"], row["taken_for_images"]) for row in found] == [("cat", 1), (None, None)]


def test_a_prediction_that_stands_for_the_label_is_no_mistake():
    found = per_class_rows(predicted([(7, 8), (7, 3)], [1, 2]), NAMES, {7: 7, 8: 7})
    assert (found[0]["top1"], found[0]["predicted"], found[0]["taken_for"]) == (0.5, 1, "cat")


def test_intervals_are_over_the_groups_of_the_class():
    pairs = [(3, 3), (3, 3), (3, 5), (3, 5)] * 3
    alone = per_class_rows(predicted(pairs), NAMES, {})[0]
    grouped = per_class_rows(predicted(pairs), NAMES, {}, np.array([0, 0, 1, 1] * 3))[0]
    assert grouped["unit"] == "group" and grouped["top1"] == alone["top1"] == pytest.approx(0.5)
    assert grouped["top1_low"] < alone["top1_low"] and grouped["top1_high"] > alone["top1_high"]
