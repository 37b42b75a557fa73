"""Scores beside labels: which classes stand for each image's label, in whatever order the files have them."""

import numpy as np
import pytest

from varc.errors import InputError
from varc.metrics.ablation import smoothing_rows
from varc.metrics.calibration import log_probability
from varc.scoring.labelled import is_right, read_labelled_scores
from varc.storage import MANIFEST, write_parquet, write_scores

IDS, CLASSES = ["a", "b", "c"], np.array([2, 5, 7, 9], np.int32)
LABEL_OF = {"2": 2, "5": 5, "7": 5, "9": 2}  # as ObjectNet's: two class_ids for each label
BEST = [7, 9, 9]


def written(folder, labels, label_of):
    """A manifest, and scores in which the best class of each image is that of BEST, in three scales."""
    columns = {"image_id": IDS, "label": labels, "path": IDS, "group": [None] * len(IDS)}
    write_parquet(folder / "manifest.parquet", columns, MANIFEST, {"label_of": label_of})
    per_scale = np.zeros((3, 4, 3))
    per_scale[np.arange(3), np.searchsorted(CLASSES, BEST)] = 1.0
    record = {"images": len(IDS), "var_sha256": "x"}
    write_scores(folder / "scores.parquet", IDS, np.tile(CLASSES, (3, 1)), per_scale, record)
    return read_labelled_scores(folder / "manifest.parquet", [folder / "scores.parquet"])


def test_each_class_that_stands_for_the_label_is_its_own(tmp_path):
    found = written(tmp_path, [5, 2, 5], LABEL_OF)
    assert found.class_labels.tolist() == [2, 5, 5, 2]
    assert found.own.tolist() == [[False, True, True, False], [True, False, False, True], [False, True, True, False]]
    assert is_right(found.samples[0].argmax(1), found.own).tolist() == [True, True, False]


def test_smoothing_and_calibration_count_every_such_class(tmp_path):
    found = written(tmp_path, [5, 2, 5], LABEL_OF)
    assert [row["top1"] for row in smoothing_rows(found.samples, found.own, [1])] == [2 / 3] * 2
    e = np.exp(3.0)  # the best class leads by 1 nat at each of 3 scales
    expected = np.log([(e + 1) / (e + 3), (e + 1) / (e + 3), 2 / (e + 3)])
    assert np.allclose(log_probability(found.samples[0], found.labels, found.class_labels), expected)


def test_a_class_stands_for_itself_where_nothing_else_is_said(tmp_path):
    assert written(tmp_path, [7, 9, 2], {}).own.tolist() == (np.array([[7], [9], [2]]) == CLASSES).tolist()


def test_a_label_without_scores_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"scores\.parquet has no scores of class_id 4, a label in"):
        written(tmp_path, [5, 4, 5], LABEL_OF)
