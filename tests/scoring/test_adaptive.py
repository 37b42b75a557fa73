import math

import numpy as np
import pytest
import torch
from parity import models, reference

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.scoring import stepwise
from varc.scoring.adaptive import (
    AdaptiveScores,
    calibrate,
    calibration_units,
    class_behind,
    equal_quantiles,
    final_order,
    predict_open,
    risk_factor,
    simulate,
    survivors,
    unsettled,
)
from varc.scoring.batching import pass_bytes, past_bytes
from varc.scoring.likelihood import score
from varc.scoring.progressive import adaptive_scores
from varc.scoring.stepwise import keep_survivors, whole_images

CPU = torch.device("cpu")
NEVER = np.full(3, np.inf)


def random_scores(seed, images=400, classes=6, scales=3, signal=1.0):
    """Per-scale log-likelihoods in which the label gains on average, and the labels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, images)
    per_scale = rng.normal(size=(images, classes, scales))
    per_scale[np.arange(images), label] += signal
    return per_scale, label


def test_survivors_by_hand():
    so_far = np.array([[0.0, -1.0, -3.0], [-5.0, -2.0, -2.5]])
    alive = np.array([[True, True, True], [True, False, True]])
    assert survivors(so_far, alive, 1.0).tolist() == [[True, True, False], [False, False, True]]
    assert survivors(so_far, alive, np.inf).tolist() == alive.tolist()
    assert survivors(so_far, alive, 0.0).tolist() == [[True, False, False], [False, False, True]]


def test_without_thresholds_all_is_scored_and_varc_predicts():
    per_scale, _ = random_scores(0)
    result = simulate(per_scale, np.zeros((0, 400, 6)), NEVER)
    assert (result.steps == 3).all() and (result.samples == 1).all()
    assert (final_order(result)[:, 0] == per_scale.sum(-1).argmax(1)).all()
    assert np.allclose(result.log_likelihood, per_scale.sum(-1))


def test_a_dropped_candidate_stops_where_it_fell_behind():
    per_scale = np.array([[[0.0, 0.0, 0.0], [-3.0, 9.0, 9.0], [-1.0, -3.0, 9.0]]])
    result = simulate(per_scale, np.zeros((0, 1, 3)), np.array([2.0, 2.0, 2.0]))
    assert result.steps.tolist() == [[3, 1, 2]]
    assert result.samples.tolist() == [[1, 0, 0]]
    assert result.log_likelihood.tolist() == [[0.0, -3.0, -4.0]]
    assert np.isnan(result.per_step[0, 1]).tolist() == [False, True, True]
    assert final_order(result).tolist() == [[0, 2, 1]]


def calibrated(per_scale, label, alpha):
    """The thresholds of the full funnel of one sample."""
    best = per_scale.sum(-1).argmax(1)
    return calibrate(per_scale, best, best == label, alpha)


def full_prediction(seed, per_scale, label, samples):
    """What the mean over samples predicts, of which per_scale is the first: so many orders, say, of alike scores."""
    rng, others = np.random.default_rng([seed, 1]), samples - 1
    scale = math.sqrt(others * per_scale.shape[2])
    more = scale * rng.normal(size=per_scale.shape[:2])
    more[np.arange(len(label)), label] += others * per_scale.shape[2]  # the signal of each
    return (per_scale.sum(-1) + more).argmax(1)


@pytest.mark.parametrize("samples", [1, 8])
@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.3])
def test_the_risk_is_as_promised_over_many_calibration_sets(alpha, samples):
    """The mean risk over calibration sets is at most alpha, and not far below it; of a VAR's scales and of a chunked
    order, where other orders have their say in what the full scoring predicts."""
    risks = []
    for seed in range(60):
        per_scale, label = random_scores(seed, images=400)
        best = full_prediction(seed, per_scale, label, samples)
        thresholds = calibrate(per_scale, best, best == label, alpha)
        other, other_label = random_scores(seed + 1000, images=2000)
        full_right = full_prediction(seed + 1000, other, other_label, samples) == other_label
        result = simulate(other, np.zeros((0, 2000, 6)), thresholds)
        kept = np.take_along_axis(result.samples, other_label[:, None], 1)[:, 0] > 0
        risks.append((~kept)[full_right].mean())
    error = np.std(risks) / np.sqrt(len(risks))
    assert np.mean(risks) <= alpha + 2 * error
    assert np.mean(risks) >= alpha / 3


def test_too_few_calibration_images_for_alpha_drop_nothing():
    per_scale, label = random_scores(0, images=40)
    assert np.isinf(calibrated(per_scale, label, 0.001)).all()
    assert np.isinf(calibrated(per_scale[:1], label[:1], 0.5)).all()


def rank_rule(per_scale, best, right, alpha):
    """The thresholds of images on their own, as the split-conformal rank gives them."""
    behind = class_behind(per_scale, best)[right]
    shape = equal_quantiles(behind[::2], alpha)
    ratio = np.sort((behind[1::2] / shape).max(axis=1))
    rank = math.ceil((len(ratio) + 1) * (1 - alpha))
    return shape * (ratio[rank - 1] if rank <= len(ratio) else np.inf)


@pytest.mark.parametrize("images", [40, 99, 400, 1001])
def test_groups_of_one_image_have_the_split_conformal_thresholds_to_the_bit(images):
    for alpha in (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 1 / 3):
        for seed in range(3):
            per_scale, label = random_scores(seed, images)
            best = per_scale.sum(-1).argmax(1)
            expected = rank_rule(per_scale, best, best == label, alpha)
            for groups in (None, np.arange(images), np.random.default_rng(seed).permutation(images)):
                assert (calibrate(per_scale, best, best == label, alpha, groups) == expected).all()
                units = calibration_units(best == label, alpha, groups)
                assert units.unit == "image" and np.isinf(expected).all() == (units.units < units.units_needed)


def test_the_factor_is_the_smallest_that_keeps_the_risk_of_groups_of_any_size():
    """By trying every factor; (G / (G + 1)) mean loss + 1 / (G + 1) <= alpha."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.integers(1, 40, rng.integers(5, 30))
        groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
        ratio, alpha, count = rng.exponential(size=len(groups)).round(2), rng.uniform(0.03, 0.5), len(sizes)

        def bound(factor, ratio=ratio, groups=groups, count=count):
            loss = np.mean([(ratio[groups == group] > factor).mean() for group in range(count)])
            return count / (count + 1) * loss + 1 / (count + 1)

        found = risk_factor(ratio, groups, alpha)
        kept = [factor for factor in np.unique(ratio) if bound(factor) <= alpha]
        assert found == (kept[0] if kept else np.inf)
    assert risk_factor(np.array([1.0, 2.0]), np.array([0, 0]), 0.4) == np.inf  # of one group nothing follows
    more = np.repeat(np.arange(30.0), 5), np.repeat(np.arange(30), 5)  # five of each image say no more than one
    assert risk_factor(*more, 0.1) == risk_factor(np.arange(30.0), np.arange(30), 0.1) == 27


def hierarchical(rng, groups, images, spread=4.0):
    """Scores of a right prediction that is behind after the first of two scales, by so much as its group has it."""
    of = np.repeat(np.arange(groups), images)
    behind = np.exp(spread * rng.normal(size=groups)[of] + rng.normal(size=len(of)))
    per_scale = np.zeros((len(of), 2, 2))
    per_scale[:, 0] = np.stack([-behind, behind + 1], axis=1)
    return per_scale, behind, of


def test_images_of_few_groups_promise_too_much_and_groups_hold_what_they_promise():
    """The mean risk on new groups, over calibration sets of 11 groups, at alpha 0.1; and of 60, near alpha."""
    for calibrating, repetitions in ((11, 800), (60, 200)):
        risks = []
        for seed in range(repetitions):
            rng = np.random.default_rng(seed)
            (per_scale, _, groups), (_, behind, _) = hierarchical(rng, calibrating, 20), hierarchical(rng, 100, 5)
            best, right = np.zeros(len(groups), int), np.ones(len(groups), bool)
            found = [calibrate(per_scale, best, right, 0.1, of)[0] for of in (None, groups)]
            risks.append([(behind > threshold).mean() for threshold in found])
        (by_images, by_groups), errors = np.mean(risks, axis=0), np.std(risks, axis=0) / np.sqrt(repetitions)
        assert by_groups <= 0.1 and by_groups >= (0.1 / 3 if calibrating == 11 else 0.07)
        if calibrating == 11:
            assert by_images - 4 * errors[0] > 0.1


def test_too_few_groups_for_alpha_drop_nothing_and_how_many_it_takes():
    per_scale, label = random_scores(0, images=2400)
    best = per_scale.sum(-1).argmax(1)
    for alpha, needed in ((0.01, 110), (0.02, 55), (0.05, 22), (0.1, 10)):
        for count in (needed - 1, needed):
            groups = np.arange(2400) % count
            units = calibration_units(best == label, alpha, groups)
            assert units == ("group", count, needed)
            assert np.isinf(calibrate(per_scale, best, best == label, alpha, groups)).all() == (count < needed)
    one = calibrate(per_scale, best, best == label, 0.5, np.zeros(2400, int))
    assert np.isinf(one).all() and calibration_units(best == label, 0.5, np.zeros(2400, int)).units == 1
    wrong = (best == label) & (np.arange(2400) % 22 < 21)  # of one group no image is right, which does not count
    assert calibration_units(wrong, 0.05, np.arange(2400) % 22).units == 21
    assert np.isinf(calibrate(per_scale, best, wrong, 0.05, np.arange(2400) % 22)).all()


def test_smaller_risks_cost_more():
    per_scale, label = random_scores(0, images=4000)
    thresholds = [calibrated(per_scale, label, alpha) for alpha in (0.3, 0.1, 0.03, 0.01)]
    scored = [simulate(per_scale, np.zeros((0, 4000, 6)), t).steps.sum() for t in thresholds]
    assert scored == sorted(set(scored))


def test_how_far_a_class_is_behind_by_hand():
    per_scale = np.array([[[0.0, 1.0], [2.0, -3.0]]])
    assert class_behind(per_scale, np.array([0])).tolist() == [[2.0, 0.0]]
    assert class_behind(per_scale, np.array([1])).tolist() == [[0.0, 2.0]]


def test_samples_are_added_until_the_margin_is_settled():
    alive = np.array([[True, True, False]] * 3 + [[True, False, False]])
    first = np.array([[0.0, -1.0, 5.0]] * 4)
    assert unsettled(first[None], alive).tolist() == [True, True, True, False]
    second = np.array([[0.0, -1.1, 5.0], [0.0, 1.0, 5.0], [0.0, -9.0, 5.0], [0.0, 0.0, 0.0]])
    # margins (1, 1.1): mean 1.05, error 0.05; (1, -1): mean 0; (1, 9): mean 5, error 4
    assert unsettled(np.stack([first, second]), alive).tolist() == [False, True, True, False]


def test_only_open_images_get_more_samples():
    per_scale = np.array([[[0.0], [-1.0]], [[0.0], [-1.0]], [[0.0], [-9.0]]])
    noisy = np.array([[[0.0, -1.1], [0.0, 1.0], [7.0, 7.0]], [[3.0, 3.0], [0.0, 3.0], [7.0, 7.0]]])
    result = simulate(per_scale, noisy, np.array([2.0]))
    assert result.samples.tolist() == [[2, 2], [3, 3], [1, 0]]
    assert result.log_likelihood[0].tolist() == pytest.approx([0.0, -1.05])
    assert result.log_likelihood[1].tolist() == pytest.approx([0.0, 1.0])
    assert final_order(result)[:, 0].tolist() == [0, 1, 0]


def test_the_engine_does_what_the_simulation_says():
    """On the reference's model: thresholds that drop some after each scale, and smoothing for what is left."""
    (vqvae, var), ref = models(), reference()
    candidates = np.tile(np.arange(20, dtype=np.int32), (3, 1))
    tokens = [ref["smoothed_tokens"][s].astype(np.uint16) for s in range(3)]
    full = [score(var, vqvae.quantize, t, candidates, device=CPU) for t in tokens]
    behind = full[0].cumsum(-1).max(1, keepdims=True) - full[0].cumsum(-1)
    thresholds = np.quantile(behind, 0.8, axis=(0, 1))
    expected = simulate(full[0], np.stack([f.sum(-1) for f in full[1:]]), thresholds)
    assert len(np.unique(expected.steps)) > 3 and expected.samples.max() > 1
    for images_per_batch in (1, 3):
        found = adaptive_scores(
            var, vqvae.quantize, tokens, candidates, thresholds, device=CPU, images_per_batch=images_per_batch
        )
        assert (found.steps == expected.steps).all() and (found.samples == expected.samples).all()
        assert np.nanmax(np.abs(found.per_step - expected.per_step)) < 1e-2
        assert np.array_equal(np.isnan(found.per_step), np.isnan(expected.per_step))
        assert np.abs(found.log_likelihood - expected.log_likelihood).max() < 1e-2


@pytest.mark.parametrize("pairs", [30, 11, 0.5])  # whose keys and values at all scales there is memory for
def test_memory_for_fewer_keys_and_values_changes_no_result(pairs, monkeypatch):
    """On 5 images of 12 classes: some images are put off, or some pairs of one start anew at each scale."""
    torch.manual_seed(0)
    var = VAR(VARConfig(2, 32, 4, 12, 32, 4, (1, 2, 3, 4))).eval()
    for parameter in var.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    quantizer = MultiScaleQuantizer(32, 4, (1, 2, 3, 4)).eval()
    tokens = np.random.default_rng(0).integers(0, 32, (5, 30)).astype(np.uint16)
    candidates = np.tile(np.arange(12, dtype=np.int32), (5, 1))
    whole = score(var, quantizer, tokens, candidates, device=CPU)
    behind = whole.cumsum(-1).max(1, keepdims=True) - whole.cumsum(-1)
    thresholds = np.quantile(behind, 0.9, axis=(0, 1))
    expected = simulate(whole, np.zeros((0, 5, 12)), thresholds)
    memory = int(pairs * (past_bytes(var.config, 30) + pass_bytes(var.config, 16)))
    monkeypatch.setattr(stepwise, "budget", lambda device, free: (memory, memory))
    held = []

    def counted(past, left, most):
        keep_survivors(past, left, most)
        held.append(past[0].shape[1])

    monkeypatch.setattr(stepwise, "keep_survivors", counted)
    found = adaptive_scores(var, quantizer, [tokens], candidates, thresholds, device=CPU, images_per_batch=5)
    survivors = (expected.samples > 0).sum()
    assert max(held[3::4]) <= pairs < survivors
    assert (found.steps == expected.steps).all() and (found.samples == expected.samples).all()
    assert np.nanmax(np.abs(found.per_step - expected.per_step)) < 1e-3


def test_whole_images_and_their_survivors_by_hand():
    alive = np.array([[True, True, False], [True, True, True], [True, False, False]])
    assert [whole_images(alive, pairs) for pairs in (0, 1, 2, 4, 5, 6, 99)] == [1, 1, 1, 1, 2, 3, 3]
    numbers = torch.arange(5.0).view(1, 5, 1, 1, 1)  # of 5 pairs, of which a sixth has no keys and values
    for most, expected in ((9, [0.0, 2.0, 3.0]), (2, [0.0, 2.0]), (0, [])):
        past = [numbers, numbers + 1]
        keep_survivors(past, np.array([True, False, True, True, False, True]), most)
        assert past[0].flatten().tolist() == expected
        assert past[1].flatten().tolist() == [x + 1 for x in expected]


def test_predictions_of_an_adaptive_funnel():
    result = AdaptiveScores(
        steps=np.array([[2, 1, 2], [1, 2, 2]], np.int32),
        samples=np.array([[1, 0, 0], [0, 2, 2]], np.int32),
        per_step=np.zeros((2, 3, 2)),
        log_likelihood=np.array([[-5.0, -1.0, -6.0], [-1.0, -4.0, -3.0]]),
    )
    found = predict_open(result, np.array([3, 5, 8]), np.array(["a", "b"], object), np.array([8, 5]), {})
    assert found["prediction"].tolist() == [3, 8]
    assert found["runner_up"] == [None, 5]
    assert found["margin"] == [None, 1.0]
    assert found["rank_stage1"] == [None, 2]
