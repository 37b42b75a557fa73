"""Robustness under shifts: closed forms of means and drops, and of the paired bootstrap."""

import numpy as np
import pandas as pd
import pytest

from varc.errors import InputError
from varc.metrics.robustness import (
    PAIRED_COLUMNS,
    Resampled,
    is_right,
    paired_rows,
    resampled_means,
    right_answers,
    robustness_rows,
)

N = 400


def right(*shares, names=("blur", "noise"), n=N, seed=None):
    """right_answers of a classifier: clean, then two severities of each shift, right on these shares of the images."""
    columns = [("clean", 0), *((name, severity) for name in names for severity in (1, 2))]
    ids = [f"image{i}" for i in range(n)]
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    answers = [pd.Series(order < round(share * n), index=ids) for share in shares]
    return right_answers((*column, answer) for column, answer in zip(columns, answers, strict=True))


def table(rows):
    return pd.DataFrame(rows).set_index(["shift", "severity", "classifier"])


def test_top1_and_relative_drop_are_shares_of_images():
    rows = table(robustness_rows("d", Resampled({"a": right(0.8, 0.8, 0.6, 0.4, 0.2), "b": right(1, 1, 1, 1, 0)})))
    top1, lost = rows["top1"], rows["relative_drop"]
    assert [top1["blur", s, "a"] for s in (1, 2, "mean")] == pytest.approx([0.8, 0.6, 0.7])
    assert [lost["blur", s, "a"] for s in (1, 2, "mean")] == pytest.approx([0, 0.25, 0.125])
    assert [lost["noise", s, "b"] for s in (1, 2, "mean")] == pytest.approx([0, 1, 0.5])
    assert top1["all", "mean", "a"] == pytest.approx(0.5) and lost["all", "mean", "a"] == pytest.approx(0.375)
    assert (rows["images"] == N).all() and len(rows) == 2 * (2 * 3 + 1)


def test_all_weighs_shifts_alike():
    more = right(1, 1, 0, 0.5, 0.5).drop(columns=[("noise", 2)])  # one severity of noise, two of blur
    more["noise", 1] = False
    assert table(robustness_rows("d", Resampled({"a": more})))["top1"]["all", "mean", "a"] == pytest.approx(0.25)


def test_intervals_of_means_are_those_of_independent_images():
    rows = table(robustness_rows("d", Resampled({"a": right(0.9, 0.6, 0.6, 0.3, 0.3)})))
    for shift, share in (("blur", 0.6), ("noise", 0.3)):  # the same images at both severities: no gain from two of them
        row = rows.loc[(shift, "mean", "a")]
        half = 1.96 * np.sqrt(share * (1 - share) / N)
        assert [row["top1_low"], row["top1_high"]] == pytest.approx([share - half, share + half], abs=0.006)
    one = rows.loc[("blur", 1, "a")]
    assert one["top1_low"] < 0.6 < one["top1_high"]


def test_identical_classifiers_differ_by_nothing():
    same = right(0.9, 0.8, 0.5, 0.4, 0.3, seed=1)
    rows = pd.DataFrame(paired_rows("d", Resampled({"a": same, "b": same.copy()})))
    assert list(rows.columns) == PAIRED_COLUMNS
    assert rows["shift"].tolist() == ["blur", "noise", "all"] and set(rows["against"]) == {"a"}
    for measure in ("drop_difference", "relative_drop_difference"):
        assert (rows[measure] == 0).all() and (rows[f"{measure}_p"] == 1).all()
        assert (rows[f"{measure}_low"] < 0).all() and (rows[f"{measure}_high"] > 0).all()  # it is not proven
        assert (rows[f"{measure}_high"] < 0.02).all()


def test_p_is_near_the_exact_one_where_few_images_differ():
    """One loses five images, or ten, and the other none: McNemar's p is 2 / 2^5, 2 / 2^10."""
    for lost, exact in ((3, 0.25), (5, 0.0625), (6, 0.03125), (10, 0.00195)):
        kept = 1 - lost / N
        row = paired_rows("d", Resampled({"a": right(1, 1, 1, 1, 1), "b": right(1, kept, kept, kept, kept)}))[0]
        assert row["drop_difference"] == pytest.approx(lost / N)
        assert row["drop_difference_p"] == pytest.approx(exact, rel=0.75)
        assert (row["drop_difference_low"] > 0) == (exact < 0.05), (lost, row)


@pytest.mark.parametrize(("worse", "better"), [(0.0, 0.0), (0.005, 0.0), (0.01, 0.005), (0.08, 0.05)])
def test_coverage(worse, better, monkeypatch):
    """Images that one classifier loses under a shift and the other does not, from none to many."""
    monkeypatch.setattr("varc.metrics.robustness.RESAMPLES", 1000)
    rng, covered, n = np.random.default_rng(0), [], 200
    ids = [f"image{i}" for i in range(n)]
    for _ in range(150):
        clean, which = pd.Series(rng.random(n) < 0.9, ids), rng.random(n)
        lost, won = (which < worse), (which > 1 - better)
        one, other = clean & ~lost, clean & ~won
        rights = {
            name: right_answers([("clean", 0, clean), ("blur", 1, found), ("blur", 2, found)])
            for name, found in (("a", other), ("b", one))
        }
        row, truths = paired_rows("d", Resampled(rights))[0], (0.9 * (worse - better), worse - better)
        for measure, truth in zip(("drop_difference", "relative_drop_difference"), truths, strict=True):
            covered.append(row[f"{measure}_low"] - 1e-12 <= truth <= row[f"{measure}_high"] + 1e-12)
    assert np.mean(covered) >= 0.93


def test_relative_drops_have_intervals():
    rows = table(robustness_rows("d", Resampled({"a": right(0.8, 0.8, 0.6, 0.4, 0.2)})))
    assert (rows["relative_drop_low"] < rows["relative_drop"]).all()
    assert (rows["relative_drop"] < rows["relative_drop_high"]).all() and (rows["relative_drop_high"] <= 1).all()
    half = 1.96 * np.sqrt(0.75 * 0.25 / (0.8 * N))  # 240 of the 320 that were right are lost
    one = rows.loc[("noise", 2, "a")]
    assert [one["relative_drop_low"], one["relative_drop_high"]] == pytest.approx([0.75 - half, 0.75 + half], abs=0.01)
    same = rows.loc[("blur", 1, "a")]  # no image is lost, which does not prove that none would be
    assert -0.02 < same["relative_drop_low"] < 0 < same["relative_drop_high"] < 0.02


def test_nothing_is_lost_of_nothing():
    row = robustness_rows("d", Resampled({"a": right(0, 0, 0, 0, 0)}))[0]
    assert np.isnan([row[f"relative_drop{end}"] for end in ("", "_low", "_high")]).all()
    assert 0 <= row["top1_low"] <= row["top1_high"] <= 1


def test_a_known_difference_has_the_interval_of_its_images():
    """One loses nothing, the other a tenth of the images: the difference is a proportion, with its standard error."""
    found = Resampled({"a": right(1, 1, 1, 1, 1), "b": right(1, 0.9, 0.9, 0.9, 0.9)})
    half = 1.96 * np.sqrt(0.1 * 0.9 / N)
    for row in paired_rows("d", found):
        for measure in ("drop_difference", "relative_drop_difference"):  # the same, since the clean top-1 is 1
            assert row[measure] == pytest.approx(0.1)
            bounds = [row[f"{measure}_{end}"] for end in ("low", "high")]
            assert bounds == pytest.approx([0.1 - half, 0.1 + half], abs=0.006)


def test_the_drop_is_each_classifiers_own():
    found = Resampled({"a": right(0.5, 0.4, 0.4, 0.4, 0.4), "b": right(1, 0.8, 0.8, 0.8, 0.8)})
    for row in paired_rows("d", found):
        assert row["drop_difference"] == pytest.approx(0.1)
        assert row["relative_drop_difference"] == pytest.approx(0, abs=1e-12)
        assert row["relative_drop_difference_low"] < 0 < row["relative_drop_difference_high"]


def test_every_pair_is_compared_once():
    found = Resampled({"a": right(1, 1, 1, 1, 1), "b": right(1, 0.9, 0.9, 0.9, 0.9), "c": right(1, 0.7, 0.7, 0.7, 0.7)})
    rows = pd.DataFrame(paired_rows("d", found)).query("shift == 'all'").set_index(["classifier", "against"])
    assert rows["drop_difference"].to_dict() == pytest.approx({("b", "a"): 0.1, ("c", "a"): 0.3, ("c", "b"): 0.2})


def test_pairing_narrows_the_interval():
    a = right(0.8, 0.6, 0.6, 0.6, 0.6, seed=1)
    b = right(0.8, 0.59, 0.59, 0.59, 0.59, seed=1)  # wrong on the same images as a, and on four more
    apart = right(0.8, 0.59, 0.59, 0.59, 0.59, seed=2)
    width = {
        name: paired_rows("d", Resampled({"a": a, name: other}))[2]["drop_difference_high"] for name, other in
        (("b", b), ("apart", apart))
    }  # fmt: skip
    assert width["b"] < 0.025 < 0.05 < width["apart"]


def test_the_bootstrap_is_that_of_a_plain_loop():
    values = np.random.default_rng(3).random((50, 2))
    found, rng = resampled_means(values), np.random.default_rng(0)
    drawn = rng.integers(50, size=(100, 50))
    assert found[:100] == pytest.approx(np.array([values[rows].mean(0) for rows in drawn]))
    assert found.std(0) == pytest.approx(values.std(0) / np.sqrt(50), rel=0.03) and len(found) == 10_000


def test_other_images_are_refused():
    good = pd.Series([True, False], index=["x", "y"])
    with pytest.raises(InputError, match="blur 1: its images are not those without a shift"):
        right_answers([("clean", 0, good), ("blur", 1, good[::-1])])
    with pytest.raises(InputError, match="b: its images are not those of the other classifiers"):
        Resampled({"a": right(1, 1, 1, 1, 1), "b": right(1, 1, 1, 1, 1, n=9)})


def test_right_is_rank_one_in_the_last_stage():
    predictions = pd.DataFrame(
        {"image_id": ["x", "y", "z"], "rank_stage1": [1, 1, 2], "rank_stage2": pd.array([1, 2, None], dtype="Int32")}
    )
    assert is_right(predictions).to_dict() == {"x": True, "y": False, "z": False}
    assert is_right(predictions.astype({"rank_stage2": float})).to_dict() == {"x": True, "y": False, "z": False}
