import numpy as np
import pytest

from varc.explain.faithfulness import (
    auc,
    class_probability,
    faithfulness,
    fractions,
    inserted,
    pixel_order,
    substrate,
    upsample,
)

SIDE = 8


def linear_case():
    """A classifier that sums weighted grey values, an image of ones, and a ground of zeros: score = sum of weights."""
    weights = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
    image, ground = np.ones((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)
    return weights, image, ground


def linear_score(weights, images):
    return (images[..., 0] * weights).sum((1, 2), dtype=np.float64)


def curve(weights, order, image, ground, steps):
    return linear_score(weights, inserted(image, ground, order, steps))


def test_the_curve_of_a_linear_classifier_is_the_cumulative_sum_of_its_weights():
    weights, image, ground = linear_case()
    order = pixel_order(weights, "a", 0)
    found = curve(weights, order, image, ground, SIDE * SIDE)
    expected = np.concatenate([[0], np.sort(weights.ravel())[::-1].cumsum()])
    assert found == pytest.approx(expected, rel=1e-5)
    assert auc(found) == pytest.approx(((expected[1:] + expected[:-1]) / 2).mean(), rel=1e-5)


def test_the_true_map_is_best_and_its_reverse_worst_and_they_add_up():
    weights, image, ground = linear_case()
    best = curve(weights, pixel_order(weights, "a", 0), image, ground, 16)
    worst = curve(weights, pixel_order(-weights, "a", 0), image, ground, 16)
    chance = curve(weights, pixel_order(np.zeros_like(weights), "a", 0), image, ground, 16)
    assert auc(worst) < auc(chance) < auc(best)
    assert auc(best) + auc(worst) == pytest.approx(weights.sum(), rel=1e-5)  # one curve is the other's complement
    deleted = curve(weights, pixel_order(weights, "a", 0), ground, image, 16)
    assert deleted == pytest.approx(weights.sum() - best, abs=1e-4)


def test_both_ends_are_on_the_curve():
    weights, image, ground = linear_case()
    for steps in (1, 3, 28):
        images = inserted(image, ground, pixel_order(weights, "a", 0), steps)
        assert len(images) == steps + 1
        assert (images[0] == ground).all() and (images[-1] == image).all()
        shown = (images == image).all(-1).sum((1, 2))
        assert shown.tolist() == np.round(fractions(steps) * SIDE * SIDE).tolist()


def test_ties_are_broken_by_image_and_seed():
    flat = np.zeros((SIDE, SIDE), np.float32)
    a, again, b, c = (pixel_order(flat, *key) for key in (("a", 0), ("a", 0), ("b", 0), ("a", 1)))
    assert (a == again).all() and (a != b).any() and (a != c).any()
    assert sorted(a) == list(range(SIDE * SIDE))
    steps = flat.copy()
    steps[0] = 1.0
    assert sorted(pixel_order(steps, "a", 0)[:SIDE]) == list(range(SIDE))
    assert not (pixel_order(steps, "a", 0)[:SIDE] == np.arange(SIDE)).all()


def test_substrates():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = (200, 100, 50)
    mean = substrate(image, "mean")
    assert (mean == (100, 50, 25)).all()
    blurred = substrate(image, "blur").astype(int)
    assert 80 < blurred[20, 19, 0] < 120 and blurred[20, 0, 0] < 5 and blurred[20, -1, 0] > 195
    assert (np.diff(blurred[20, :, 0]) >= 0).all()


def test_upsampling():
    maps = np.array([[[0.0, 1.0], [2.0, 3.0]]], np.float32)
    assert upsample(maps, 4, "nearest")[0, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert upsample(maps, 4, "bilinear")[0, 0].tolist() == [0.0, 0.25, 0.75, 1.0]


def judge_of(weights):
    """Two classes: the linear score, and 0."""

    def judge(images):
        scores = linear_score(weights, images)
        return np.stack([scores, np.zeros_like(scores)], axis=1)

    return judge


def curves_of(maps, ids, curve="insertion", ground="mean", steps=8):
    rng = np.random.default_rng(7)
    images = {i: rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for i in "abc"}
    weights = linear_case()[0] / 1000
    settings = {"curve": curve, "ground": ground, "steps": steps, "mode": "nearest", "seed": 0}
    return faithfulness(
        np.stack([images[i] for i in ids]), np.stack([maps[i] for i in ids]), ids, judge_of(weights), **settings
    )


def test_curves_do_not_depend_on_the_other_images():
    rng = np.random.default_rng(2)
    maps = {i: rng.integers(0, 3, (4, 4)).astype(np.float32) for i in "abc"}  # with ties
    together = curves_of(maps, ["a", "b", "c"])
    assert together.shape == (3, 9, 2)
    assert np.array_equal(together[::-1], curves_of(maps, ["c", "b", "a"]))
    assert np.array_equal(together[1:2], curves_of(maps, ["b"]))
    assert curves_of(maps, ["a"]).tolist() != curves_of(maps, ["a"], "deletion").tolist()


def test_insertion_ends_where_deletion_begins():
    maps = {i: np.arange(16, dtype=np.float32).reshape(4, 4) for i in "abc"}
    inserted_curve, deleted = curves_of(maps, ["a"]), curves_of(maps, ["a"], "deletion")
    assert inserted_curve[0, -1].tolist() == deleted[0, 0].tolist()
    assert inserted_curve[0, 0].tolist() == deleted[0, -1].tolist()


def test_probabilities_of_the_target_at_a_temperature():
    scores = np.array([[[0.0, np.log(3.0)], [np.log(9.0), 0.0]]])
    assert class_probability(scores, np.array([1])).tolist() == [[pytest.approx(0.75), pytest.approx(0.1)]]
    assert class_probability(scores, np.array([0]), 2.0)[0, 1] == pytest.approx(3 / 4)
    assert auc(class_probability(scores, np.array([1]))) == pytest.approx((0.75 + 0.1) / 2)
