"""Intervals over groups: closed forms, the sign-flip test by hand, coverage; and over images, bit for bit, without."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import beta, t

from varc.costs.counting import Cost, ModelCosts
from varc.metrics.ablation import ablation_row, smoothing_rows
from varc.metrics.accuracy import exact_interval, wilson_interval
from varc.metrics.explanation import mean_interval, p_of_mean
from varc.metrics.frontier import group_risk
from varc.metrics.intervals import by_group, flipped_interval, mean_share_interval, part_means, share_interval
from varc.metrics.paired import difference_of_counts, every_pair, paired_difference
from varc.metrics.robustness import Resampled, paired_rows, right_answers, robustness_rows
from varc.metrics.tables import accuracy_row, pruning_rows

RNG = np.random.default_rng(0)
GROUPS = np.repeat(np.arange(12), RNG.integers(3, 30, 12))  # of very different sizes
N = len(GROUPS)
HARD = RNG.normal(size=12)[GROUPS]
RIGHT, OTHER = (RNG.random((2, N)) < expit(1 + HARD)).tolist()
RIGHT, OTHER = np.array(RIGHT), np.array(OTHER)


def test_without_groups_it_is_the_interval_over_images():
    hits = int(RIGHT.sum())
    assert share_interval(RIGHT) == wilson_interval(hits, N)
    assert share_interval(RIGHT, None, exact_interval) == exact_interval(hits, N)
    gained, lost = int((RIGHT & ~OTHER).sum()), int((OTHER & ~RIGHT).sum())
    assert paired_difference(RIGHT, OTHER) == difference_of_counts(gained, lost, N)


def test_a_share_of_groups_of_one_image_is_the_exact_one_of_an_image_less():
    """The variance between n images is p (1 - p) / (n - 1), which n - 1 of them would have."""
    low, high = share_interval(np.arange(50) < 20, np.arange(50))
    assert low == pytest.approx(beta.ppf(0.025, 0.4 * 49, 0.6 * 49 + 1))
    assert high == pytest.approx(beta.ppf(0.975, 0.4 * 49 + 1, 0.6 * 49))


def test_a_share_of_groups_that_are_all_or_nothing():
    """What counts is how many groups there are, and not how large they are."""
    for size in (10, 1000):
        low, high = share_interval(
            np.repeat([True, True, False, True, False, True, True, True], size), np.repeat(range(8), size)
        )
        n = 7 * (t.ppf(0.975, 8 * size - 1) / t.ppf(0.975, 7)) ** 2
        assert (low, high) == pytest.approx(
            (beta.ppf(0.025, 0.75 * n, 0.25 * n + 1), beta.ppf(0.975, 0.75 * n + 1, 0.25 * n))
        )


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_a_share_over_groups_holds_itself_and_is_no_narrower_than_over_images(share):
    happened = RNG.random(N) < share
    low, high = share_interval(happened, GROUPS)
    over_images = share_interval(happened)
    assert 0 <= low <= happened.mean() <= high <= 1
    assert high - low >= (over_images[1] - over_images[0]) * 0.99


def test_one_group_tells_nothing_of_others():
    one = np.zeros(N, int)
    assert share_interval(RIGHT, one) == (0.0, 1.0)
    found = paired_difference(RIGHT, OTHER, one)
    assert (found.low, found.high, found.p) == (-1.0, 1.0, 1.0)
    assert group_risk(RIGHT, one) == {
        "group_risk": RIGHT.mean(),
        "group_risk_low": 0.0,
        "group_risk_high": 1.0,
        "groups": 1,
    }
    assert mean_interval(RIGHT.astype(float), one, 0.0) == (0.0, 1.0) and p_of_mean(RIGHT.astype(float), one) == 1.0


def sign_flip_p(values, groups, truth, upper):
    """One-sided p of a mean: the share of all ways to flip the groups' deviations whose sum is as far to that side."""
    sums, sizes = by_group(values, groups)
    deviations = sums - truth * sizes
    flipped = [sum(np.multiply(signs, deviations)) for signs in itertools.product([1, -1], repeat=len(sums))]
    return np.mean(np.array(flipped) * upper >= deviations.sum() * upper - 1e-9)


def test_the_interval_of_a_mean_is_where_the_sign_flip_test_does_not_refuse():
    groups, values = GROUPS[GROUPS < 9], (RIGHT.astype(float) - OTHER)[GROUPS < 9]
    low, high, p = flipped_interval(values.mean(), part_means(values, groups))
    assert sign_flip_p(values, groups, low - 1e-6, 1) <= 0.025 < sign_flip_p(values, groups, low + 1e-6, 1)
    assert sign_flip_p(values, groups, high + 1e-6, -1) <= 0.025 < sign_flip_p(values, groups, high - 1e-6, -1)
    assert p == pytest.approx(2 * sign_flip_p(values, groups, 0.0, np.sign(values.mean())))


def test_five_groups_are_too_few_and_six_are_enough():
    """Of 32 ways to flip five groups two are a sixteenth; of 64 those of six a thirty-second."""
    for count, p in ((5, 1 / 16), (6, 1 / 32)):
        groups = np.repeat(np.arange(count), 20)
        found = flipped_interval(1.0, part_means(np.ones(len(groups)), groups))
        assert found.p == p and np.isinf(found.low) == np.isinf(found.high) == (count == 5)
        right, other = np.ones(len(groups), bool), np.zeros(len(groups), bool)
        assert (paired_difference(right, other, groups).low > 0) == (count == 6)


def test_parts_of_many_groups_are_drawn_with_a_seed_and_nearly_tell_the_standard_error():
    groups = np.repeat(np.arange(200), 10)
    values = RNG.normal(size=200)[groups] + RNG.normal(size=2000)
    found = flipped_interval(values.mean(), part_means(values, groups))
    assert found == flipped_interval(values.mean(), part_means(values, groups))
    error = (by_group(values, groups)[0] / 10).std(ddof=1) / 200**0.5
    assert found.high - found.low == pytest.approx(2 * 1.972 * error, rel=0.05)
    assert part_means(np.stack([values, values + 1], 1), groups)[1:, 1] == pytest.approx(
        part_means(values, groups)[1:] + 1
    )


def test_the_interval_of_a_difference_leaves_out_0_where_p_is_at_most_5_percent():
    rng, seen = np.random.default_rng(1), set()
    for _ in range(60):
        gain = rng.random(N) < 0.15 * rng.random(12)[GROUPS]
        lost = ~gain & (rng.random(N) < 0.05 * rng.random(12)[GROUPS])
        found, over_images = paired_difference(gain, lost, GROUPS), paired_difference(gain, lost)
        assert (found.low > 0 or found.high < 0) == (found.p <= 0.05)
        assert found.low <= over_images.low <= found.difference <= over_images.high <= found.high
        assert found[4:] == over_images[4:] and found.p >= over_images.p
        seen.add(found.p <= 0.05)
    assert seen == {True, False}


def test_order_changes_nothing():
    order = RNG.permutation(N)
    assert share_interval(RIGHT, GROUPS) == pytest.approx(share_interval(RIGHT[order], GROUPS[order]))
    assert paired_difference(RIGHT, OTHER, GROUPS) == pytest.approx(
        paired_difference(RIGHT[order], OTHER[order], GROUPS[order])
    )
    one, other = paired_difference(RIGHT, OTHER, GROUPS), paired_difference(OTHER, RIGHT, GROUPS)
    assert (one.low, one.high, one.p) == pytest.approx((-other.high, -other.low, other.p))


@pytest.mark.parametrize(("groups", "size"), [(12, 40), (40, 90)])
def test_coverage_where_groups_differ(groups, size):
    """Of the logits of groups' chances, the standard deviation is 0.8: over images an interval holds half the time."""
    rng, which, held = np.random.default_rng(0), np.repeat(np.arange(groups), size), []
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    share = weights @ expit(1.7 + 0.8 * nodes) / weights.sum()
    for _ in range(150):
        right, gained, lost = (
            rng.random(len(which)) < expit(centre + 0.8 * rng.normal(size=groups))[which]
            for centre in (1.7, -3.0, -3.0)
        )
        found = paired_difference(gained, lost, which), paired_difference(gained, lost)
        ends = [share_interval(right, which), share_interval(right), *((one.low, one.high) for one in found)]
        held.append([low <= truth <= high for (low, high), truth in zip(ends, (share, share, 0, 0), strict=True)])
    of_share, over_images, of_difference, images_too = np.mean(held, axis=0)
    assert min(of_share, of_difference) >= 0.92
    assert over_images <= 0.7 and images_too <= 0.9


def test_the_risk_of_groups_is_a_mean_over_groups():
    groups, dropped = np.array([0, 0, 0, 0, 2, 2]), np.array([True, False, False, False, True, False])
    found = group_risk(dropped, groups)  # group 1 has no image here
    assert (found["group_risk"], found["groups"]) == (0.375, 2)
    assert (found["group_risk_low"], found["group_risk_high"]) == mean_share_interval(
        np.array([0.25, 0.5]), np.ones(2), 6
    )
    assert all(np.isnan(value) for value in group_risk(dropped, None).values())
    none = group_risk(np.zeros(600, bool), np.repeat(np.arange(30), 20))
    assert none["group_risk"] == none["group_risk_low"] == 0 < none["group_risk_high"] < 0.01


def test_rows_of_tables_say_their_unit():
    ids = np.arange(N).astype(str)
    rights = {"a": pd.Series(RIGHT, ids), "b": pd.Series(OTHER, ids)}
    scores, own = np.stack([RIGHT, ~RIGHT], axis=1).astype(float), np.tile([True, False], (N, 1))
    predictions = pd.DataFrame({"rank_stage1": np.where(RIGHT, 1, 9)})
    costs = ModelCosts(Cost(0.0, 0.0), {1: Cost(1.0, 0.0)})
    for groups, unit in ((None, "image"), (GROUPS, "group")):
        rows = [
            accuracy_row(predictions, 10, groups=groups),
            ablation_row(scores[None], own, OTHER, 1, groups),
            *smoothing_rows(scores[None], own, [1], groups),
            *pruning_rows(scores[..., None], np.arange(2), np.zeros(N, int), costs, groups)[:1],
            *every_pair(rights, groups),
        ]
        assert [row["unit"] for row in rows] == [unit] * len(rows)
        names = ["top1"] * 4 + ["recall"]
        for name, row in [*zip(names, rows, strict=False), ("top5", rows[0])]:
            assert (row[f"{name}_low"], row[f"{name}_high"]) == share_interval(RIGHT, groups)
        expected = paired_difference(OTHER, RIGHT, groups)
        assert rows[-1].items() >= expected._asdict().items()
        assert rows[1]["vs_plain_p"] == paired_difference(RIGHT, OTHER, groups).p


def test_shifts_of_groups(monkeypatch):
    """With groups intervals are wider and p is larger, top-1 and drops the same; one severity has the share's."""
    monkeypatch.setattr("varc.metrics.robustness.RESAMPLES", 1000)
    ids, rng = [f"{i}" for i in range(N)], np.random.default_rng(3)
    hard = expit(1 + 2 * rng.normal(size=12))[GROUPS]

    def answers():
        clean = pd.Series(rng.random(N) < 0.95, ids)
        return right_answers([("clean", 0, clean), *(("blur", s, clean & (rng.random(N) < hard)) for s in (1, 2))])

    rights = {"a": answers(), "b": answers()}
    one, other = (Resampled(rights, groups) for groups in (None, GROUPS))
    for row, grouped in zip(robustness_rows("d", one), robustness_rows("d", other), strict=True):
        assert (row["unit"], grouped["unit"]) == ("image", "group")
        assert (row["top1"], row["relative_drop"]) == pytest.approx((grouped["top1"], grouped["relative_drop"]))
        assert (
            grouped["relative_drop_low"]
            <= row["relative_drop_low"]
            <= row["relative_drop_high"]
            <= grouped["relative_drop_high"]
        )
        if row["shift"] != "clean":
            assert 0 <= grouped["top1_low"] < row["top1_low"] < row["top1_high"] < grouped["top1_high"] <= 1
        if row["severity"] == 1:
            right = rights[row["classifier"]]["blur", 1].to_numpy()
            assert (grouped["top1_low"], grouped["top1_high"]) == share_interval(right, GROUPS)
    for row, grouped in zip(paired_rows("d", one), paired_rows("d", other), strict=True):
        values = [rights[name].astype(float)["clean", 0] - rights[name]["blur"].mean(axis=1) for name in ("b", "a")]
        found = flipped_interval(row["drop_difference"], part_means((values[0] - values[1]).to_numpy(), GROUPS))
        assert grouped["drop_difference"] == row["drop_difference"]
        assert grouped["drop_difference_low"] == pytest.approx(min(found.low, row["drop_difference_low"]))
        assert grouped["drop_difference_high"] == pytest.approx(max(found.high, row["drop_difference_high"]))
        assert grouped["drop_difference_p"] == pytest.approx(max(found.p, row["drop_difference_p"]))


def test_areas_of_maps_in_groups():
    values = 0.5 + 0.1 * HARD + 0.01 * RNG.normal(size=N)
    values = np.clip(values, 0, 1)
    over_images, over_groups = mean_interval(values, None, 0.0), mean_interval(values, GROUPS, 0.0)
    assert 0 <= over_groups[0] < over_images[0] < values.mean() < over_images[1] < over_groups[1] <= 1
    gain = values - 0.45
    assert p_of_mean(gain, None) < p_of_mean(gain, GROUPS) == flipped_interval(gain.mean(), part_means(gain, GROUPS)).p
