"""The interval of a paired difference: closed forms, an independent computation, its errors, McNemar's test."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import beta, binom, binomtest

from varc.errors import InputError
from varc.metrics.paired import difference_of_counts, every_pair, paired_difference


def test_counts_and_mcnemars_p_by_hand():
    right = np.array([True] * 60 + [False] * 40)
    other = np.array([True] * 50 + [False] * 10 + [True] * 2 + [False] * 38)
    found = paired_difference(right, other)
    assert (found.difference, found.gained, found.lost) == (pytest.approx(0.08), 10, 2)
    assert found.p == pytest.approx(2 * sum((1, 12, 66)) / 2**12)  # two-sided binomial, 10 of 12
    assert 0 < found.low < 0.08 < found.high < 0.2
    assert found == difference_of_counts(10, 2, 100)


def test_mcnemars_p_of_published_examples():
    # Bentur 2009 and Cavo 2012, as in Fagerland, Lydersen and Laake 2013 (doi 10.1186/1471-2288-13-91)
    assert difference_of_counts(1, 7, 21).p == pytest.approx(0.0703, abs=5e-5)
    assert difference_of_counts(6, 16, 161).p == pytest.approx(0.0525, abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 10, 454])
def test_no_image_differs(n):
    """The share that differs has the exact upper limit 1 - 0.025^(1/n); it could all be on either side."""
    found = difference_of_counts(0, 0, n)
    most = 1 - 0.025 ** (1 / n)
    assert found == (0.0, pytest.approx(-most), pytest.approx(most), 1.0, 0, 0)


@pytest.mark.parametrize(("gained", "lost"), [(1, 0), (0, 1), (3, 2), (5, 3)])
def test_all_images_differ(gained, lost):
    """Only which way is open: where it reaches over 0, the interval is Clopper and Pearson's of the share of gains."""
    found, exact = difference_of_counts(gained, lost, gained + lost), binomtest(gained, gained + lost).proportion_ci()
    assert (found.low, found.high) == pytest.approx((2 * exact.low - 1, 2 * exact.high - 1), abs=1e-5)


def tail(gained, lost, n, difference):
    """The one-sided p of a difference, integrated over the share that differs: Fay and Lumbard 2021, the lower end."""
    differ = gained + lost
    share = beta(differ, n - differ + 1) if difference >= 0 else beta(differ + 1, n - differ)
    peaks = [x for x in share.ppf([0.001, 0.1, 0.5, 0.9, 0.999]) if 0 < x < 1]
    return quad(
        lambda s: beta.cdf(0.5 + difference / (2 * s), gained, lost + 1) * share.pdf(s), 0, 1, points=peaks, limit=400
    )[0]


@pytest.mark.parametrize(
    ("gained", "lost", "n"),
    [
        (1, 7, 21),
        (6, 16, 161),
        (5, 0, 454),
        (1, 0, 5),
        (3, 2, 10),
        (30, 2, 40),
        (77, 63, 2000),
        (1, 0, 4000),
        (20, 0, 20),
    ],
)
def test_the_ends_have_the_tails(gained, lost, n):
    found = difference_of_counts(gained, lost, n)
    assert tail(gained, lost, n, found.low) == pytest.approx(0.025, abs=3e-5)
    if lost:
        assert tail(lost, gained, n, -found.high) == pytest.approx(0.025, abs=3e-5)
    else:  # the share of gains has the upper limit 1: what is left is the exact one of the share that differs
        assert found.high == pytest.approx(binomtest(gained, n).proportion_ci().high)


def test_the_interval_goes_with_mcnemars_test():
    """It leaves out 0 where p is below 0.05, and nowhere else: 5:0 of 454 has p 0.06."""
    for n in (30, 454):
        for differ in range(24):
            for gained in range(differ + 1):
                found = difference_of_counts(gained, differ - gained, n)
                assert (found.low > 0 or found.high < 0) == (found.p < 0.05), found
                assert -1 <= found.low <= found.difference <= found.high <= 1
    five = difference_of_counts(5, 0, 454)
    assert (five.p, five.low < 0) == (0.0625, True)


def test_the_other_way_round_is_the_mirror():
    one, other = difference_of_counts(9, 4, 300), difference_of_counts(4, 9, 300)
    assert (one.low, one.high, one.p) == (-other.high, -other.low, other.p)


@pytest.mark.parametrize("n", [1, 2, 7, 26])
def test_either_end_errs_in_one_of_forty_at_most(n):
    """Over all outcomes, as Fay and Lumbard computed it for all n to 100: no error is above 2.5 %."""
    outcomes = [(differ, gained) for differ in range(n + 1) for gained in range(differ + 1)]
    found = [difference_of_counts(gained, differ - gained, n) for differ, gained in outcomes]
    low, high = (np.array([getattr(one, end) for one in found]) for end in ("low", "high"))
    differ, gained = np.array(outcomes).T
    for share in np.linspace(0, 1, 21):
        for gains in np.linspace(0, 1, 21):
            chance = binom.pmf(differ, n, share) * binom.pmf(gained, differ, gains)
            truth = share * (2 * gains - 1)
            assert chance[low > truth + 1e-5].sum() < 0.0251
            assert chance[high < truth - 1e-5].sum() < 0.0251


@pytest.mark.parametrize(("more", "less"), [(0.002, 0.0), (0.004, 0.001), (0.002, 0.002), (0.008, 0.001), (0.0, 0.0)])
def test_coverage_where_hardly_an_image_differs(more, less):
    drawn = np.random.default_rng(0).multinomial(454, [more, less, 1 - more - less], size=400)
    found = [difference_of_counts(int(gained), int(lost), 454) for gained, lost, _ in drawn]
    assert np.mean([one.low <= more - less <= one.high for one in found]) >= 0.95


def test_every_pair_is_compared_once_on_the_same_images():
    ids = ["x", "y", "z"]
    rights = {
        "a": pd.Series([True, True, False], ids),
        "b": pd.Series([True, False, False], ids),
        "c": pd.Series([True, True, True], ids),
    }
    rows = {(row["classifier"], row["against"]): row for row in every_pair(rights)}
    assert {pair: (row["gained"], row["lost"]) for pair, row in rows.items()} == {
        ("b", "a"): (0, 1), ("c", "a"): (1, 0), ("c", "b"): (2, 0),
    }  # fmt: skip
    assert rows["c", "b"]["difference"] == pytest.approx(2 / 3) and rows["c", "b"]["images"] == 3
    with pytest.raises(InputError, match="d: its images are not those of the other classifiers"):
        every_pair(rights | {"d": pd.Series([True, True, True], ["x", "y", "w"])})
