"""How often intervals of differences hold the truth: python benchmarks/coverage.py, a few minutes.

The cases are the paired differences that README and docs quote: the counts of docs/*.csv stand for the truth, and each
is drawn 1,000 times; before them cases where under 1 % of the images differ. Beside it stands the percentile bootstrap
of earlier versions. Then differences under shifts, of 200 images and 1,000 resamples each.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from varc.metrics import robustness
from varc.metrics.paired import difference_of_counts
from varc.metrics.robustness import Resampled, paired_rows, right_answers

REPETITIONS = 1000
DOCS = Path(__file__).parents[1] / "docs"
FEW = [(454, more, less) for more, less in ((0, 0), (1, 0), (2, 0), (1, 1), (3, 0), (2, 1), (4, 0))]  # below 1 %
SHIFTED = [(0.0, 0.0), (0.005, 0.0), (0.01, 0.005), (0.05, 0.02), (0.2, 0.1)]  # shares that one and the other loses


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


if __name__ == "__main__":
    main()
