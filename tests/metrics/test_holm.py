import numpy as np
import pandas as pd
import pytest

from varc.metrics.holm import holm, with_holm


def test_published_examples():
    # Holm 1979, Wright 1992 (Biometrics 48, table 1): the ordered p times N, N - 1, ..., never falling, 1 at most
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.6, 0.001])) == pytest.approx([1.0, 1.0, 0.003])
    assert holm(np.array([0.02])) == pytest.approx([0.02])
    assert holm(np.array([0.01, 0.01, 0.01])) == pytest.approx([0.03] * 3)


def test_what_is_no_test_does_not_count():
    found = holm(np.array([np.nan, 0.01, 0.04]))
    assert np.isnan(found[0]) and found[1:] == pytest.approx([0.02, 0.04])
    assert len(holm(np.array([]))) == 0


def test_it_is_never_below_p_and_never_above_bonferroni():
    p = np.random.default_rng(0).random(50) ** 4
    found = holm(p)
    assert (found >= p).all() and (found <= np.minimum(1, 50 * p) + 1e-15).all()
    assert (np.diff(found[np.argsort(p)]) >= 0).all()


def test_false_findings_of_many_true_nulls():
    """One false finding among 21 tests, at least: in one of twenty tables at most, two of three without."""
    p = np.random.default_rng(0).random((2000, 21))
    assert np.mean([(holm(row) < 0.05).any() for row in p]) < 0.06
    assert ((p < 0.05).any(1)).mean() > 0.6


def test_it_stands_beside_its_p():
    table = with_holm(pd.DataFrame({"x_p": [0.01, 0.5], "images": [3, 3], "y_p": [1.0, 0.02]}), "x_p", "y_p")
    assert list(table) == ["x_p", "x_p_holm", "images", "y_p", "y_p_holm"]
    assert table["x_p_holm"].tolist() == [0.02, 0.5] and table["y_p_holm"].tolist() == [1.0, 0.04]
    assert list(with_holm(pd.DataFrame(columns=["x_p"]), "x_p")) == ["x_p", "x_p_holm"]
