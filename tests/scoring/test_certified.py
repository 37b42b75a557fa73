"""The certified stage: what delta promises, in closed form and in simulation, and which scores are whose."""

import numpy as np
import pytest

from varc.metrics.certified import certified_row
from varc.scoring.adaptive import final_order, predict_open
from varc.scoring.certified import certified_delta, certified_scores, certified_units, contenders, open_contenders


def test_delta_is_the_conformal_quantile():
    """Of 19 images at alpha 0.1 the ceil(20 x 0.9) = 18th smallest distance."""
    exact = np.tile([1.0, 0.0], (19, 1))
    quick = np.stack([-np.arange(19.0), np.zeros(19)], axis=1)  # the exact prediction is 0, 1, ..., 18 behind
    assert certified_delta(quick, exact, 0.1) == 17.0
    assert certified_delta(quick[::-1], exact, 0.1) == 17.0
    assert certified_delta(quick + 5.0, exact * 3, 0.1) == 17.0
    assert certified_delta(quick[:, ::-1], exact[:, ::-1], 0.1) == 17.0


@pytest.mark.parametrize("alpha", [0.3, 0.1, 0.05, 0.01])
def test_delta_is_infinite_below_the_images_that_it_takes(alpha):
    needed = certified_units(1, alpha).units_needed
    exact = np.tile([1.0, 0.0], (needed, 1))
    assert np.isfinite(certified_delta(exact, exact, alpha))
    assert certified_delta(exact[1:], exact[1:], alpha) == np.inf
    groups = np.repeat([f"g{i}" for i in range(needed)], 3)
    many = np.repeat(exact, 3, axis=0)
    assert np.isfinite(certified_delta(many, many, alpha, groups))
    assert certified_delta(many[3:], many[3:], alpha, groups[3:]) == np.inf
    assert certified_units(len(many), alpha, groups) == ("group", needed, needed)


def simulated(rng, images, classes, groups=None):
    """Scores in float32, and as a precision rounds them that is worse for some groups."""
    exact = rng.normal(size=(images, classes)) * 3
    spread = np.ones(images) if groups is None else rng.exponential(size=groups.max() + 1)[groups]
    return exact + spread[:, None] * rng.normal(size=exact.shape), exact


@pytest.mark.parametrize("by_group", [False, True])
def test_the_promise_holds_on_new_images(by_group):
    """In the mean over calibration sets; of single images, and of groups whose rounding differs."""
    rng, alpha, lost = np.random.default_rng(0), 0.1, []
    for _ in range(400):
        number = 40 if by_group else 60
        groups = np.repeat(np.arange(2 * number), 5 if by_group else 1)
        quick, exact = simulated(rng, len(groups), 6, groups)
        known = groups < number
        delta = certified_delta(quick[known], exact[known], alpha, groups[known] if by_group else None)
        kept = contenders(quick[~known], delta)
        lost.append(1 - np.take_along_axis(kept, exact[~known].argmax(1)[:, None], 1).mean())
    assert 0.5 * alpha < np.mean(lost) < alpha + 3 * np.std(lost) / np.sqrt(len(lost))


def test_only_what_is_open_is_scored_in_float32():
    quick = np.array([[[1.0, 1.0], [0.5, 1.0], [-3.0, 0.0]], [[9.0, 0.0], [1.0, 1.0], [0.0, 0.0]]])
    asked = []

    def exact(chosen):
        asked.append(chosen.tolist())
        return np.where(chosen[..., None], [[[1.0, 0.5], [1.0, 1.0], [7.0, 7.0]]], 0.0)

    found = certified_scores(quick, 0.5, exact)
    assert asked == [[[True, True, False], [False, False, False]]]
    assert found.samples.tolist() == [[1, 1, 0], [1, 0, 0]] and (found.steps == 2).all()
    assert found.log_likelihood.tolist() == [[1.5, 2.0, -3.0], [9.0, 2.0, 0.0]]
    assert final_order(found).tolist() == [[1, 0, 2], [0, 1, 2]]
    columns = predict_open(found, np.array([4, 5, 6]), np.array(["a", "b"], object), np.array([4, 4]), {})
    assert columns["prediction"].tolist() == [5, 4] and columns["margin"] == [0.5, None]
    assert columns["rank_stage1"] == [2, 1]


def test_the_scales_are_weighted_in_what_is_compared():
    quick = np.array([[[1.0, 0.0], [0.0, 2.0]]])
    weights = np.array([2.0, 0.5])
    found = certified_scores(quick, 0.9, lambda chosen: np.zeros(quick.shape), weights)
    assert found.samples.tolist() == [[1, 0]] and found.log_likelihood.tolist() == [[2.0, 1.0]]


def test_nothing_is_dropped_without_a_delta():
    quick, exact = simulated(np.random.default_rng(1), 20, 5)
    assert open_contenders(quick, np.inf).all()
    found = certified_scores(quick[..., None], np.inf, lambda chosen: exact[..., None])
    assert (final_order(found)[:, 0] == exact.argmax(1)).all()
    row = certified_row(quick, found, exact, None)
    assert row["changed"] == row["observed_risk"] == 0 and row["changed_by_precision"] > 0
    assert row["contenders"] == row["passes_float32"] == 5 and row["settled"] == 0


def test_the_tables_figures_by_hand():
    quick = np.array([[3.0, 2.0, 0.0], [3.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    exact = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 3.0], [3.0, 0.0, 0.0]])
    found = certified_scores(quick[..., None], 1.0, lambda chosen: np.where(chosen, exact, 0.0)[..., None])
    row = certified_row(quick, found, exact, np.array([0, 0, 1]))
    assert row["contenders"] == pytest.approx(5 / 3) and row["settled"] == pytest.approx(1 / 3)
    assert row["passes_float32"] == pytest.approx(4 / 3)
    assert row["changed_by_precision"] == 2 and row["changed"] == 1  # the second image's class 2 is too far behind
    assert row["observed_risk"] == pytest.approx(1 / 3) and row["group_risk"] == pytest.approx(1 / 4)
