import numpy as np
import pytest
from scipy.stats import binom

from varc.metrics.accuracy import among, exact_interval, final_rank, pruning_recall, wilson_interval

PUBLISHED = {  # Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29
    wilson_interval: [(0.2553, 0.3662), (0.0624, 0.1605), (0.0, 0.1611), (0.0061, 0.1718)],
    exact_interval: [(0.2527, 0.3676), (0.0578, 0.1617), (0.0, 0.1684), (0.0009, 0.1776)],  # method 5
}


@pytest.mark.parametrize("interval", PUBLISHED)
def test_an_interval_against_published_values(interval):
    for (hits, n), ends in zip([(81, 263), (15, 148), (0, 20), (1, 29)], PUBLISHED[interval], strict=True):
        assert interval(hits, n) == pytest.approx(ends, abs=5e-5)


def test_the_exact_interval_of_none_and_of_one():
    assert exact_interval(0, 0) == (0.0, 1.0)
    assert exact_interval(1, 1) == (pytest.approx(0.025), 1.0)


@pytest.mark.parametrize("interval", [wilson_interval, exact_interval])
def test_an_interval_holds_its_share_and_stays_within_0_and_1(interval):
    for n in (1, 2, 3, 7, 49, 454, 2000):
        for hits in {0, 1, n // 2, n - 1, n}:
            low, high = interval(hits, n)
            assert 0 <= low <= hits / n <= high <= 1, (hits, n)


def test_coverage_of_the_exact_interval():
    """By enumeration, at any share: what is outside has a chance of 2.5 % at most on either side."""
    ends = np.array([exact_interval(hits, 40) for hits in range(41)])
    for share in np.linspace(0, 1, 101):
        chance = binom.pmf(np.arange(41), 40, share)
        assert chance[ends[:, 0] > share].sum() <= 0.025 and chance[ends[:, 1] < share].sum() <= 0.025


def test_final_rank_is_that_of_the_last_stage_that_had_the_label():
    assert final_rank([[1, 4, 7, None], [2, 3, None, None], [1, None, None, None]]) == [1, 3, 7, None]


def test_top_k_counts_labels_that_were_pruned_by_their_rank():
    assert among([1, 3, 7, None], 1).tolist() == [True, False, False, False]
    assert among([1, 3, 7, None], 5).tolist() == [True, True, False, False]
    assert among([1, 3, 7, None], 7).tolist() == [True, True, True, False]


def test_pruning_recall_by_hand():
    assert pruning_recall(np.array([1, 1, 3, 4]), 4).tolist() == [0.5, 0.5, 0.75, 1.0]
