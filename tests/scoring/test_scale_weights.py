"""Weights of the scales: the optimum, what a stage makes of it, and that equal weights change nothing, to the bit."""

import numpy as np
import pytest
import torch

from varc.errors import InputError
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.scoring import scale_weights
from varc.scoring.adaptive import calibrate, simulate
from varc.scoring.funnel import prune, read_scores
from varc.scoring.labelled import read_labelled_scores
from varc.scoring.likelihood import score
from varc.scoring.progressive import adaptive_scores
from varc.scoring.scale_weights import (
    fit_scale_weights,
    loss,
    prefix_weights,
    read_labelled_weights,
    read_scale_weights,
)
from varc.seal import write_json
from varc.storage import MANIFEST, write_parquet, write_scores

MODELS = {"vqvae_sha256": "v", "var_sha256": "x"}


def random_scores(seed, signal, images=300, classes=6):
    """Log-likelihoods per scale in which the label gains `signal` on average at each, and which class is the label."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, images)
    own = np.arange(classes) == label[:, None]
    noise = rng.normal(size=(images, classes, len(signal)))
    return noise + own[..., None] * np.array(signal) - rng.normal(50, 9, (images, 1, len(signal))), own


def test_the_gradient_is_that_of_finite_differences():
    per_scale, own = random_scores(0, [1.0, 0.3, 0.0], images=20)
    own[:5, 2] = True  # several classes that stand for one label
    at, step = np.array([0.7, 0.2, 1.1]), 1e-6
    _, gradient = loss(at, per_scale, own)
    for k, unit in enumerate(np.eye(3)):
        difference = loss(at + step * unit, per_scale, own)[0] - loss(at - step * unit, per_scale, own)[0]
        assert gradient[k] == pytest.approx(difference / (2 * step), abs=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_one_by_its_conditions(seed):
    """Karush, Kuhn, Tucker: no gradient where a weight is above 0, and none below 0 where it is 0."""
    per_scale, own = random_scores(seed, [1.0, 0.5, -0.4, 0.0, 0.1])
    per_scale *= [100.0, 1.0, 1.0, 0.01, 10.0]  # however large the numbers of a scale are
    found = fit_scale_weights(per_scale, own)
    value, gradient = loss(found.weights, per_scale, own)
    spread = per_scale.std(axis=1).mean(axis=0)
    assert (found.weights >= 0).all() and found.weights[2] == 0 < found.weights[:2].min()
    assert np.abs(np.where(found.weights > 0, gradient, np.minimum(gradient, 0)) / spread).max() < 1e-6
    assert value == pytest.approx(found.nll) and found.nll < found.nll_temperature <= found.nll_equal
    for other in found.weights * np.random.default_rng(seed).uniform(0.5, 2, (50, 5)):
        assert loss(other, per_scale, own)[0] >= found.nll - 1e-12


def two_classes(*groups):
    """Images of two classes, of which the label is the first: (scale, by how much it is ahead there, how many)."""
    per_scale = [np.eye(2)[k] * ahead for k, ahead, count in groups for _ in range(count)]
    per_scale = np.stack([np.array(per_scale), np.zeros((len(per_scale), 2))], axis=1)
    return per_scale, np.tile([True, False], (len(per_scale), 1))


def test_the_optimum_in_closed_form():
    """p = 3/4 of the images ahead by 2 at the first scale, 2/3 by 5 at the second: log odds over how far, for each."""
    found = fit_scale_weights(*two_classes((0, 2.0, 30), (0, -2.0, 10), (1, 5.0, 20), (1, -5.0, 10)))
    assert found.weights == pytest.approx([np.log(3) / 2, np.log(2) / 5], rel=1e-6)
    entropies = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (3 / 4, 2 / 3)]
    assert found.nll == pytest.approx((40 * entropies[0] + 30 * entropies[1]) / 70)


def test_a_scale_that_is_behind_as_often_as_not_counts_nothing():
    found = fit_scale_weights(*two_classes((0, 2.0, 30), (0, -2.0, 10), (1, 5.0, 10), (1, -5.0, 20)))
    assert found.weights == pytest.approx([np.log(3) / 2, 0.0], abs=1e-9)


def test_order_of_images_and_classes_and_pieces_change_nothing(monkeypatch):
    per_scale, own = random_scores(1, [0.8, 0.4, 0.1])
    found = fit_scale_weights(per_scale, own).weights
    rng = np.random.default_rng(0)
    images, classes = rng.permutation(len(own)), rng.permutation(own.shape[1])
    assert fit_scale_weights(per_scale[images], own[images]).weights == pytest.approx(found, rel=1e-6)
    assert fit_scale_weights(per_scale[:, classes], own[:, classes]).weights == pytest.approx(found, rel=1e-6)
    assert fit_scale_weights(per_scale - 1000, own).weights == pytest.approx(found, rel=1e-6)
    monkeypatch.setattr(scale_weights, "AT_ONCE", 7 * per_scale[0].size)
    assert fit_scale_weights(per_scale, own).weights == pytest.approx(found, rel=1e-6)
    assert (fit_scale_weights(per_scale, own).weights == fit_scale_weights(per_scale, own).weights).all()


def test_a_scale_of_noise_gets_no_weight_and_accuracy_rises():
    def noisy(seed, images):
        per_scale, own = random_scores(seed, [0.8, 0.8, 0.0], images)
        return per_scale * [1, 1, 5], own

    found = fit_scale_weights(*noisy(0, 4000))
    weights = prefix_weights(found.weights, 3)
    assert weights[2] < 0.05 and weights[:2] == pytest.approx([1.5, 1.5], abs=0.1)
    per_scale, own = noisy(1, 4000)
    right = [np.take_along_axis(own, (per_scale * w).sum(-1).argmax(1)[:, None], 1).mean() for w in (1, weights)]
    assert right[1] > right[0] + 0.2


def test_what_has_no_weights_is_refused():
    flat = np.zeros((5, 3, 2)), np.eye(3, dtype=bool)[[0, 1, 2, 0, 1]]
    with pytest.raises(InputError, match="no scale tells the classes apart"):
        fit_scale_weights(*flat)
    with pytest.raises(InputError, match="no scale tells the classes apart"):
        fit_scale_weights(*two_classes((0, -2.0, 30), (1, -5.0, 10)))
    with pytest.raises(InputError, match="scale_weights: fit has too few images: whatever the weights, every label"):
        fit_scale_weights(*two_classes((0, 2.0, 30), (1, 5.0, 10)))


def test_a_scale_with_the_same_for_all_classes_gets_none():
    per_scale, own = random_scores(0, [0.8, 0.8])
    per_scale[..., 0] = per_scale[:, :1, 0]
    assert fit_scale_weights(per_scale, own).weights[0] == 0


def test_weights_of_the_first_scales_by_hand():
    weights = np.array([0.0, 1.0, 3.0, 4.0])
    assert prefix_weights(weights, 4).tolist() == [0.0, 0.5, 1.5, 2.0]
    assert prefix_weights(weights, 3) == pytest.approx([0.0, 3 / 4, 9 / 4])
    assert prefix_weights(7 * weights, 3) == pytest.approx(prefix_weights(weights, 3))
    with pytest.raises(InputError, match="the first 1 scales have weight 0; give the stage more scales, or no"):
        prefix_weights(weights, 1)
    for equal in (0.1, 1 / 3, 7e-9):
        assert (prefix_weights(np.full(10, equal), 7) == 1.0).all()


@pytest.mark.parametrize("k", [1, 3, 9, 12])
def test_equal_weights_give_plain_scores_to_the_bit(k, tmp_path):
    per_scale, path = np.random.default_rng(0).normal(-90, 30, (40, 8, 12)), tmp_path / "0.parquet"
    ids = np.array([f"{i:02}" for i in range(40)], object)
    write_scores(path, ids, np.tile(np.arange(8, dtype=np.int32), (40, 1)), per_scale, {"images": 40})
    plain, weighted = read_scores(path, k), read_scores(path, k, prefix_weights(np.full(12, 0.3), k))
    assert (plain.log_likelihood == weighted.log_likelihood).all()
    assert prune(plain, 3)["class_id"].tolist() == prune(weighted, 3)["class_id"].tolist()
    by_hand = read_scores(path, k, np.arange(k) + 0.5).log_likelihood
    assert by_hand == pytest.approx((per_scale[..., :k] * (np.arange(k) + 0.5)).sum(-1))


def noted(path, weights, **models):
    write_json(path, {"weights": weights, **MODELS, **models})
    return path


def test_weights_are_read_for_their_own_model(tmp_path):
    path = noted(tmp_path / "fit.json", [1.0, 0.0, 2.0])
    assert read_scale_weights(path, MODELS, 3).tolist() == [1.0, 0.0, 2.0]
    assert read_scale_weights(path, MODELS, 2).tolist() == [2.0, 0.0]
    assert read_scale_weights([], MODELS, 3) is None is read_labelled_weights([], [])
    with pytest.raises(InputError, match=r"fit\.json: var_sha256 is x, but that of the scores is y; delete"):
        read_scale_weights(path, MODELS | {"var_sha256": "y"}, 3)
    with pytest.raises(InputError, match=r"zero\.json: the first 2 scales have weight 0"):
        read_scale_weights(noted(tmp_path / "zero.json", [0.0, 0.0, 2.0]), MODELS, 2)


def test_labelled_scores_are_weighted_in_all_samples(tmp_path):
    rng, weights = np.random.default_rng(0), np.array([0.5, 0.0, 2.5])
    samples = rng.normal(size=(2, 4, 5, 3))
    ids = np.array(list("abcd"), object)
    columns = {"image_id": ids, "label": [0, 1, 2, 3], "path": ids, "group": [None] * 4}
    write_parquet(tmp_path / "manifest.parquet", columns, MANIFEST, {})
    files = [tmp_path / f"{s}-{shard}.parquet" for s in (0, 1) for shard in (0, 1)]
    for i, file in enumerate(files):
        some = slice(0, 1) if i % 2 == 0 else slice(1, 4)
        candidates = np.tile(np.arange(5, dtype=np.int32), (len(ids[some]), 1))
        write_scores(file, ids[some], candidates, samples[i // 2, some], {"images": len(ids[some]), **MODELS})
    found = read_labelled_scores(tmp_path / "manifest.parquet", files, weights)
    assert found.samples == pytest.approx((samples * weights).sum(-1))
    assert found.per_scale == pytest.approx(samples[0] * weights)


def test_thresholds_hold_for_weighted_scores():
    """What is promised for plain scores is promised for weighted ones: the risk is at most alpha."""
    risks, weights = [], np.array([0.0, 2.5, 0.5])
    for seed in range(40):
        per_scale, own = random_scores(seed, [0.0, 1.2, 0.6], 400)
        best = (per_scale * weights).sum(-1).argmax(1)
        thresholds = calibrate(per_scale * weights, best, best == own.argmax(1), 0.1)
        other, label = random_scores(seed + 1000, [0.0, 1.2, 0.6], 1000)
        best = (other * weights).sum(-1).argmax(1)
        kept = simulate(other * weights, np.zeros((0, 1000, 6)), thresholds).samples > 0
        right = best == label.argmax(1)
        risks.append(1 - kept[np.arange(1000), label.argmax(1)][right].mean())
    assert 0.1 / 3 <= np.mean(risks) <= 0.1 + 2 * np.std(risks) / np.sqrt(len(risks))


def test_the_adaptive_engine_decides_by_weighted_scores():
    """As the simulation says, for any number of images at a time; with weights 1 as without any, to the bit."""
    torch.manual_seed(0)
    var = VAR(VARConfig(2, 32, 4, 12, 32, 4, (1, 2, 3, 4))).eval()
    for parameter in var.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    quantizer = MultiScaleQuantizer(32, 4, (1, 2, 3, 4)).eval()
    tokens = [np.random.default_rng(s).integers(0, 32, (5, 30)).astype(np.uint16) for s in range(3)]
    candidates, cpu = np.tile(np.arange(12, dtype=np.int32), (5, 1)), torch.device("cpu")
    full = [score(var, quantizer, t, candidates, device=cpu) for t in tokens]
    weights = np.array([2.0, 0.0, 0.5, 1.5])
    so_far = (full[0] * weights).cumsum(-1)
    thresholds = np.quantile(so_far.max(1, keepdims=True) - so_far, 0.8, axis=(0, 1))
    noisy = np.stack([(f * weights).sum(-1) for f in full[1:]])
    expected = simulate(full[0] * weights, noisy, thresholds)
    plain = simulate(full[0], np.stack([f.sum(-1) for f in full[1:]]), thresholds)
    assert not np.array_equal(expected.steps, plain.steps) and expected.samples.max() > 1
    for size in (1, 2, 5):
        found = adaptive_scores(
            var, quantizer, tokens, candidates, thresholds, device=cpu, weights=weights, images_per_batch=size
        )
        assert (found.steps == expected.steps).all() and (found.samples == expected.samples).all()
        assert np.abs(found.log_likelihood - expected.log_likelihood).max() < 1e-3
        reached = ~np.isnan(found.per_step)
        assert np.abs(found.per_step - full[0])[reached].max() < 1e-3  # without weights
    ones = adaptive_scores(var, quantizer, tokens, candidates, thresholds, device=cpu, weights=np.ones(4))
    none = adaptive_scores(var, quantizer, tokens, candidates, thresholds, device=cpu)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(ones, none, strict=True))
