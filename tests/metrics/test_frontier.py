import numpy as np
import pytest
from scipy.special import softmax

from varc.costs.counting import Cost, ModelCosts
from varc.metrics.accuracy import exact_interval, wilson_interval
from varc.metrics.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from varc.metrics.frontier import adaptive_gflops, adaptive_row, fixed_frontier
from varc.metrics.intervals import share_interval
from varc.metrics.tables import adaptive_gflops_rows
from varc.scoring.adaptive import AdaptiveScores, simulate

FIVE = np.arange(5)
COSTS = ModelCosts(Cost(100.0, 0.0), {1: Cost(1.0, 0.1), 2: Cost(5.0, 0.5)})


def result():
    """Image 0: one survivor. Image 1: two survivors with three samples."""
    return AdaptiveScores(
        steps=np.array([[2, 1, 1], [2, 2, 1]], np.int32),
        samples=np.array([[1, 0, 0], [3, 3, 0]], np.int32),
        per_step=np.zeros((2, 3, 2)),
        log_likelihood=np.zeros((2, 3)),
    )


def test_costs_of_an_adaptive_funnel_by_hand():
    assert adaptive_gflops(result(), COSTS).tolist() == [5 + 1 + 1, 5 + 5 + 1 + 4 * 5]
    rows = {row["stage"]: row for row in adaptive_gflops_rows("d", "c", result(), COSTS)}
    assert rows["stage1"]["gflops"] == pytest.approx((7 + 31) / 2)
    assert rows["total"]["gflops"] == pytest.approx(100 + (7 + 31) / 2)
    assert rows["stage1"]["passes"] == 3 + 2
    assert rows["stage1"]["attention_gflops"] == pytest.approx((0.7 + 3.1) / 2)


def test_the_fixed_frontier_has_varc_at_its_end():
    rng = np.random.default_rng(0)
    per_scale, label = rng.normal(size=(200, 3, 2)), rng.integers(0, 3, 200)
    own = np.arange(3) == label[:, None]
    points = fixed_frontier(per_scale, own, COSTS).set_index(["scales", "k"])
    assert points.loc[(1, 3), "top1"] == (per_scale.sum(-1).argmax(1) == label).mean()
    assert points.loc[(1, 1), "top1"] == (per_scale[..., 0].argmax(1) == label).mean()
    assert points["gflops"].tolist() == [3.0, 3 + 2 * 5, 3 + 3 * 5]


def test_a_temperature_is_found_again():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20000, 5)) * 2
    label = (softmax(scores, axis=1).cumsum(1) > rng.random((20000, 1))).argmax(1)
    assert fit_temperature(scores * 7, label, FIVE) == pytest.approx(7, rel=0.05)
    assert expected_calibration_error(scores, label, FIVE) < 0.02
    assert expected_calibration_error(scores * 7, label, FIVE) > 0.1
    assert expected_calibration_error(scores * 7, label, FIVE, 7.0) < 0.02
    assert negative_log_likelihood(scores * 7, label, FIVE, 7.0) < negative_log_likelihood(scores * 7, label, FIVE)


def test_the_probability_of_a_label_is_that_of_all_its_classes():
    scores, class_labels = np.log([[0.3, 0.2, 0.5], [0.1, 0.2, 0.7]]), np.array([4, 4, 7])
    labels = np.array([4, 4])
    assert negative_log_likelihood(scores, labels, class_labels) == pytest.approx(-np.log([0.5, 0.3]).mean())
    bins = reliability(scores, np.array([4, 7]), class_labels)
    assert bins.confidence.tolist() == pytest.approx([0.5, 0.7])  # the best class is the third of both
    assert (bins.accuracy.tolist(), bins.images.tolist()) == ([0.0, 1.0], [1, 1])
    first = np.log([[0.4, 0.25, 0.35]])
    bins = reliability(first, np.array([4]), class_labels)
    assert (bins.confidence.tolist(), bins.accuracy.tolist()) == ([pytest.approx(0.65)], [1.0])


def test_the_risk_is_of_the_predicted_class_where_several_stand_for_the_label():
    per_scale = np.array([[[-1.0, -3.0], [-9.0, 8.0], [-5.0, -5.0]], [[-1.0, -3.0], [-2.0, 0.0], [-5.0, -5.0]]])
    own = np.array([[True, True, False], [False, False, True]])
    result = simulate(per_scale, np.zeros((0, 2, 3)), np.array([4.0, 100.0]))  # drops the second class of image 0
    row = adaptive_row(result, own, per_scale.sum(-1).argmax(1), np.array([True, False]), COSTS)
    assert (row["top1"], row["risk_images"], row["observed_risk"]) == (0.5, 1, 1.0)
    points = fixed_frontier(per_scale, own, COSTS).set_index(["scales", "k"])["top1"]
    assert points[1, 1] == points[1, 3] == 0.5


def test_what_smoothing_loses_by_stopping_early_is_told_apart_from_what_is_dropped():
    """Eight images whose label, the first class, the full funnel predicts, and one that it gets wrong."""
    own, images = np.tile([True, False], (9, 1)), np.arange(9)
    full_best = np.where(images == 8, 1, 0)
    result = AdaptiveScores(
        steps=np.full((9, 2), 2, np.int32),
        samples=np.where(images[:, None] == 0, [0, 1], [1, 1]).astype(np.int32),  # image 0: the label is dropped
        per_step=np.zeros((9, 2, 2)),
        log_likelihood=np.where(np.isin(images, (1, 2, 8))[:, None], [-2.0, -1.0], [-1.0, -2.0]),  # 1 and 2: lost early
    )
    row = adaptive_row(result, own, full_best, np.ones(9, bool), COSTS)
    assert row["risk_images"] == 8
    shares = {"observed_risk": 1, "observed_early_loss": 2, "observed_loss": 3}
    for name, hits in shares.items():
        assert row[name] == hits / 8
        assert (row[f"{name}_low"], row[f"{name}_high"]) == exact_interval(hits, 8)
    assert row["top1"] == 5 / 9 and (row["vs_fixed_gained"], row["vs_fixed_lost"]) == (0, 4)


def test_no_image_is_predicted_by_the_full_funnel():
    row = adaptive_row(result(), np.array([[False, False, True]] * 2), np.array([0, 0]), np.zeros(2, bool), COSTS)
    assert row["risk_images"] == 0
    assert np.isnan([row[f"observed_risk{end}"] for end in ("", "_low", "_high")]).all()


def test_calibration_error_by_hand():
    half = np.log([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    label = np.array([0, 1, 0, 0])
    # confidence 0.9 with accuracy 0.5, confidence 0.6 with accuracy 1
    assert expected_calibration_error(half, label, np.arange(2)) == pytest.approx(0.4)
    bins = reliability(half, label, np.arange(2))
    assert bins.confidence.tolist() == pytest.approx([0.6, 0.9])
    assert (bins.accuracy.tolist(), bins.images.tolist()) == ([1.0, 0.5], [2, 2])


def test_the_intervals_of_reliability_are_those_of_shares_over_images_or_groups():
    scores, labels = np.log(np.tile([[0.9, 0.1]], (60, 1))), np.array([0] * 45 + [1] * 15)
    bins = reliability(scores, labels, np.arange(2))
    assert (bins.low[0], bins.high[0]) == pytest.approx(wilson_interval(45, 60))
    groups = np.repeat(np.arange(12), 5)  # the first nine all right, the others all wrong
    grouped = reliability(scores, labels, np.arange(2), groups=groups)
    assert (grouped.low[0], grouped.high[0]) == pytest.approx(share_interval(labels == 0, groups))
    assert grouped.low[0] < bins.low[0] < 0.75 < bins.high[0] < grouped.high[0]
