"""Two runs side by side."""

import numpy as np
import pytest

from varc.data.manifest import Listed, columns
from varc.errors import InputError
from varc.metrics.paired import difference_of_counts
from varc.metrics.runs import ABSENT, compare_runs, differing_keys
from varc.storage import MANIFEST, predictions_schema, write_parquet


def write_run(folder, answers, ids=None, label=0):
    """A run whose classifiers have right answers as told, classifier -> whether each image is right."""
    for name, right in answers.items():
        names = ids or [f"{i:03d}" for i in range(len(right))]
        found = {
            "image_id": names,
            "label": [label] * len(right),
            "prediction": [label if hit else label + 1 for hit in right],
            "score": [0.0] * len(right),
            "runner_up": [2] * len(right),
            "margin": [1.0] * len(right),
            "rank_stage1": [1 if hit else 2 for hit in right],
        }
        write_parquet(folder / f"predictions/{name}/digits.parquet", found, predictions_schema(1), {})
        listed = [Listed(image_id, label, "") for image_id in names]
        write_parquet(folder / "datasets/digits.parquet", columns(listed), MANIFEST, {})
    return folder


def test_differences_are_paired_on_the_images_of_both(tmp_path):
    one, other = np.arange(40) % 4 > 0, np.arange(40) % 5 > 0
    first = write_run(tmp_path / "one", {"varc": one, "alone": one})
    second = write_run(tmp_path / "other", {"varc": other, "another": other})
    (row,) = compare_runs(first, second).to_dict("records")
    gained, lost = int((other & ~one).sum()), int((one & ~other).sum())
    expected = difference_of_counts(gained, lost, 40)
    assert (row["dataset"], row["classifier"], row["images"], row["left_out"]) == ("digits", "varc", 40, 0)
    assert (row["top1"], row["other_top1"]) == (one.mean(), other.mean())
    assert [row[key] for key in expected._fields] == list(expected) and row["difference"] > 0
    assert row["p_holm"] == row["p"]


def test_images_of_one_run_alone_are_left_out(tmp_path):
    right = np.arange(10) % 2 > 0
    first = write_run(tmp_path / "one", {"varc": right}, ids=[f"{i:03d}" for i in range(10)])
    second = write_run(tmp_path / "other", {"varc": ~right}, ids=[f"{i:03d}" for i in range(3, 13)])
    (row,) = compare_runs(first, second).to_dict("records")
    assert (row["images"], row["left_out"]) == (7, 6) and row["gained"] + row["lost"] == 0  # shifted by an odd number
    third = write_run(tmp_path / "third", {"varc": right}, ids=[f"x{i}" for i in range(10)])
    with pytest.raises(InputError, match=r"no classifier of both runs has the same images: .*one has varc on digits; "):
        compare_runs(first, third)


def test_other_labels_are_refused(tmp_path):
    first, second = (write_run(tmp_path / str(i), {"varc": [True]}, label=i) for i in range(2))
    with pytest.raises(InputError, match=r"000: label 0 in .*, but 1 in .*; the runs have other data or another class"):
        compare_runs(first, second)


def test_keys_that_differ():
    one = {"run": "a", "seed": 0, "models": {"base": {"train": {"steps": 3}}}, "evaluate": [1], "shifts": {}}
    other = {"run": "b", "seed": 0, "models": {"base": {"train": {"steps": 4}}, "cca": {"finetune": "base"}}}
    assert differing_keys(one, other | {"evaluate": [1, 2]}) == [
        {"key": "models.base.train.steps", "run": 3, "other": 4},
        {"key": "evaluate", "run": [1], "other": [1, 2]},
        {"key": "shifts", "run": {}, "other": ABSENT},
        {"key": "models.cca.finetune", "run": ABSENT, "other": "base"},
    ]
    assert differing_keys(one, one | {"run": "c"}) == []
