"""How often intervals hold the truth: python benchmarks/coverage.py, ten minutes.

The cases are the paired differences that README and docs quote: the counts of docs/*.csv stand for the truth, and each
is drawn 1,000 times; before them cases where under 1 % of the images differ. Beside it stands the percentile bootstrap
of earlier versions. Then differences under shifts, of 200 images and 1,000 resamples each; and shares and differences
of images in groups that differ, beside the intervals over images and the percentile bootstrap over groups.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from varc.metrics import robustness
from varc.metrics.intervals import share_interval
from varc.metrics.paired import difference_of_counts, paired_difference
from varc.metrics.robustness import Resampled, paired_rows, right_answers

REPETITIONS = 1000
DOCS = Path(__file__).parents[1] / "docs"
FEW = [(454, more, less) for more, less in ((0, 0), (1, 0), (2, 0), (1, 1), (3, 0), (2, 1), (4, 0))]  # below 1 %
SHIFTED = [(0.0, 0.0), (0.005, 0.0), (0.01, 0.005), (0.05, 0.02), (0.2, 0.1)]  # shares that one and the other loses
CLUSTERED = [(groups, unequal) for groups in (8, 24, 40, 100) for unequal in (False, True)]  # of about 90 images
LOGITS = [(1.7, 0.8), (4.5, 1.0), (-5.5, 1.5)]  # mean and standard deviation over groups of the logit of a share
DIFFERENCES = [(-3.0, -3.0, 0.8), (-2.5, -3.2, 0.8), (-6.0, -5.5, 1.0), (-3.0, -9.0, 1.2)]  # of gained, of lost


def quoted() -> Iterator[tuple[str, int, float, float]]:
    """What it is, images, gained and lost of the paired differences of docs/."""
    for path in sorted(DOCS.glob("*.csv")):
        table = pd.read_csv(path)
        for prefix in ("vs_plain", "vs_fixed"):
            if f"{prefix}_gained" in table:
                counts = [f"{prefix}_gained", f"{prefix}_lost"]
                known = table.dropna(subset=[*counts, f"{prefix}_p"]).drop_duplicates(counts)
                for _, row in known.iterrows():
                    name = f"{path.stem}, {row['classifier']}" + (f", alpha {row['alpha']}" if "alpha" in row else "")
                    yield name, int(row["images"]), row[f"{prefix}_gained"], row[f"{prefix}_lost"]


def bootstrap(n: int, gained: int, lost: int, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile interval of 2,000 resamples."""
    drawn = rng.multinomial(n, [gained / n, lost / n, (n - gained - lost) / n], size=2000)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [0.025, 0.975])
    return float(low), float(high)


def coverage(n: int, gained: float, lost: float) -> tuple[float, float]:
    """How often the interval, and the percentile bootstrap's, hold the difference."""
    rng = np.random.default_rng(0)
    truth, shares = (gained - lost) / n, [gained / n, lost / n, (n - gained - lost) / n]
    held = []
    for more, less, _ in rng.multinomial(n, shares, size=REPETITIONS).tolist():
        ends = difference_of_counts(more, less, n)[1:3], bootstrap(n, more, less, rng)
        held.append([low <= truth <= high for low, high in ends])
    one, other = np.mean(held, axis=0)
    return one, other


def shifted_coverage(worse: float, better: float, n: int = 200) -> tuple[float, float]:
    """How often the intervals of both differences under shifts hold the truth: of two classifiers that are right on the
    same 90 % of the images, one loses a share of them under a shift and the other another."""
    robustness.RESAMPLES = 1000
    rng, held = np.random.default_rng(0), []
    truths = 0.9 * (worse - better), worse - better
    for _ in range(REPETITIONS):
        clean, which = pd.Series(rng.random(n) < 0.9), rng.random(n)
        found = {"better": clean & ~(which > 1 - better), "worse": clean & ~(which < worse)}
        rights = {name: right_answers([("clean", 0, clean), ("s", 1, right)]) for name, right in found.items()}
        row = paired_rows("d", Resampled(rights))[0]
        names = ("drop_difference", "relative_drop_difference")
        held.append(
            [row[f"{name}_low"] <= truth <= row[f"{name}_high"] for name, truth in zip(names, truths, strict=True)]
        )
    drop, relative = np.mean(held, axis=0)
    return drop, relative


def mean_chance(mean: float, deviation: float) -> float:
    """The mean of a chance whose logit is drawn from a normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(weights @ expit(mean + deviation * nodes) / weights.sum())


def drawn_groups(rng: np.random.Generator, groups: int, unequal: bool) -> NDArray[np.integer]:
    """The groups (N,) of images, 90 in each, or with a standard deviation of 0.8 of the logarithm of their number."""
    sizes = 90 * np.exp(rng.normal(0, 0.8, groups)) if unequal else np.full(groups, 90)
    return np.repeat(np.arange(groups), np.maximum(1, np.round(sizes)).astype(int))


def group_bootstrap(values: NDArray[np.float64], of: NDArray[np.integer], rng: np.random.Generator) -> list[float]:
    """The percentile interval of the mean of values (N,), of 2,000 resamples of groups."""
    sums, sizes = np.bincount(of, values), np.bincount(of)
    counts = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=2000)
    return np.quantile((counts @ sums) / (counts @ sizes), [0.025, 0.975]).tolist()


def clustered_shares(groups: int, unequal: bool, mean: float, deviation: float) -> NDArray[np.float64]:
    """How often the interval over groups, the one over images, and the bootstrap of groups hold a share."""
    rng, truth, held = np.random.default_rng(0), mean_chance(mean, deviation), []
    for _ in range(REPETITIONS):
        of = drawn_groups(rng, groups, unequal)
        right = rng.random(len(of)) < expit(mean + deviation * rng.normal(size=groups))[of]
        ends = share_interval(right, of), share_interval(right), group_bootstrap(right.astype(float), of, rng)
        held.append([low <= truth <= high for low, high in ends])
    return np.mean(held, axis=0)


def clustered_differences(groups: int, unequal: bool, gains: float, losses: float, deviation: float) -> list[float]:
    """As clustered_shares, of a difference; and the share of p up to 0.05."""
    rng, held, small = np.random.default_rng(0), [], []
    truth = mean_chance(gains, deviation) - mean_chance(losses, deviation)
    for _ in range(REPETITIONS // 4):
        of = drawn_groups(rng, groups, unequal)
        gain, loss = (rng.random(len(of)) < expit(m + deviation * rng.normal(size=groups))[of] for m in (gains, losses))
        found, over_images = paired_difference(gain, loss, of), paired_difference(gain, loss)
        ends = found[1:3], over_images[1:3], group_bootstrap(gain.astype(float) - loss, of, rng)
        held.append([low - 1e-12 <= truth <= high + 1e-12 for low, high in ends])
        small.append(found.p <= 0.05)
    return [*np.mean(held, axis=0), float(np.mean(small))]


def main() -> None:
    print("| case | images | gained / lost | interval | percentile bootstrap |")
    print("| --- | --- | --- | --- | --- |")
    cases = [("below 1 %", *case) for case in FEW] + list(quoted())
    for name, n, gained, lost in cases:
        new, old = coverage(n, gained, lost)
        print(f"| {name} | {n} | {gained:g} / {lost:g} | {new:.3f} | {old:.3f} |", flush=True)
    print("\n| lost under the shift by one / the other | drop_difference | relative_drop_difference |")
    print("| --- | --- | --- |")
    for worse, better in SHIFTED:
        drop, relative = shifted_coverage(worse, better)
        print(f"| {worse:.1%} / {better:.1%} of 200 images | {drop:.3f} | {relative:.3f} |", flush=True)
    print("\n| groups | sizes | share | over groups | over images | bootstrap of groups |")
    print("| --- | --- | --- | --- | --- | --- |")
    for groups, unequal in CLUSTERED:
        for logit in LOGITS:
            cells = " | ".join(f"{share:.3f}" for share in clustered_shares(groups, unequal, *logit))
            sizes = "unequal" if unequal else "equal"
            print(f"| {groups} | {sizes} | {mean_chance(*logit):.3f} | {cells} |", flush=True)
    print("\n| groups | sizes | difference | over groups | over images | bootstrap of groups | p <= 0.05 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for groups, unequal in CLUSTERED:
        for gains, losses, deviation in DIFFERENCES:
            truth = mean_chance(gains, deviation) - mean_chance(losses, deviation)
            found = clustered_differences(groups, unequal, gains, losses, deviation)
            cells = " | ".join(f"{share:.3f}" for share in found)
            print(f"| {groups} | {'unequal' if unequal else 'equal'} | {truth:+.4f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
