import numpy as np
import pytest

from varc.metrics.accuracy import final_rank, pruning_recall, top_k, wilson_interval


def test_wilson_interval_against_published_values():
    # Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_final_rank_is_that_of_the_last_stage_that_had_the_label():
    assert final_rank([[1, 4, 7, None], [2, 3, None, None], [1, None, None, None]]) == [1, 3, 7, None]


def test_top_k_counts_labels_that_were_pruned_by_their_rank():
    assert top_k([1, 3, 7, None], 1) == 0.25
    assert top_k([1, 3, 7, None], 5) == 0.5
    assert top_k([1, 3, 7, None], 7) == 0.75


def test_pruning_recall_by_hand():
    assert pruning_recall(np.array([1, 1, 3, 4]), 4).tolist() == [0.5, 0.5, 0.75, 1.0]
