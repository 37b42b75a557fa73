"""Makes the intervals of earlier tables anew from what stands there: python benchmarks/earlier_tables.py docs/*.csv.

Paired differences had the percentile bootstrap before; `docs/` has copies of tables that take hours. What can be made
of them (what was made already stays as it is):

- Paired differences: images, the difference and McNemar's exact p tell how many images were gained and lost. Where p is
  1 the old interval tells it, since its draws were seeded. Where several counts are left, the widest of their intervals
  is taken, and gained and lost stay empty.
- observed_risk and risk_images: the exact interval.
- Means over seeds: cut at what the mean can be.
- robustness_paired.csv, explanation.csv: the intervals stay those of the earlier bootstrap, which drew from the images
  alone; p is by the normal distribution, with the standard deviation that the interval means, and Holm's beside it.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm

from varc.files import whole
from varc.metrics.ablation import ITSELF
from varc.metrics.accuracy import Z95, exact_interval
from varc.metrics.holm import with_holm
from varc.metrics.paired import Difference, difference_of_counts

SMALLEST = {"accuracy": 0.0, "average": 0.0, "forgetting": -1.0}  # that the mean over seeds can be


def earlier_bootstrap(gained: int, lost: int, n: int) -> np.ndarray:
    """The interval that earlier versions gave: percentiles of 2,000 seeded resamples."""
    shares = [gained / n, lost / n, (n - gained - lost) / n]
    drawn = np.random.default_rng(0).multinomial(n, shares, size=2000)
    return np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [0.025, 0.975])


def possible(row: pd.Series, prefix: str) -> list[Difference]:
    """The differences that an earlier row can stand for: their counts give its p and its interval."""
    n, net = int(row["images"]), round(row[f"{prefix}_difference"] * row["images"])
    found = []
    for differ in range(abs(net), n + 1, 2):
        gained = (differ + net) // 2
        if np.isclose(binomtest(gained, differ).pvalue if differ else 1.0, row[f"{prefix}_p"], rtol=1e-8, atol=0):
            ends = earlier_bootstrap(gained, differ - gained, n)
            if np.allclose(ends, [row[f"{prefix}_low"], row[f"{prefix}_high"]], atol=1e-9, rtol=0):
                found.append(difference_of_counts(gained, differ - gained, n))
    return found


def paired(table: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """The table with intervals of paired differences made again, the counts, and Holm's p."""
    rows = []
    for _, row in table.iterrows():
        if row["classifier"] == "varc" and prefix == "vs_plain":  # the plain classifier itself
            rows.append(ITSELF._asdict())
            continue
        found = possible(row, prefix)
        if not found:
            raise SystemExit(f"{row['classifier']}: no counts give its p and interval")
        known = max(found, key=lambda one: one.high - one.low)._asdict()
        rows.append(known if len(found) == 1 else known | {"gained": np.nan, "lost": np.nan})
    made = pd.DataFrame(rows).add_prefix(f"{prefix}_").astype({f"{prefix}_{n}": "Int64" for n in ("gained", "lost")})
    first = int(table.columns.get_loc(f"{prefix}_difference"))
    before, after = table.iloc[:, :first], table.iloc[:, first + 4 :]
    return with_holm(pd.concat([before, made, after], axis=1), f"{prefix}_p")


def risk(table: pd.DataFrame) -> pd.DataFrame:
    """The table with exact intervals of the observed risk."""
    hits = (table["observed_risk"] * table["risk_images"]).round().astype(int)
    ends = [exact_interval(hit, n) for hit, n in zip(hits, table["risk_images"], strict=True)]
    where = int(table.columns.get_loc("observed_risk")) + 1
    for name, values in zip(("high", "low"), list(zip(*ends, strict=True))[::-1], strict=True):
        table.insert(where, f"observed_risk_{name}", values)
    return table


def with_p(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The table with p of differences whose intervals are a bootstrap's, and Holm's."""
    for name in names:
        deviation = (table[f"{name}_high"] - table[f"{name}_low"]) / (2 * Z95)
        where = int(table.columns.get_loc(f"{name}_high")) + 1
        table.insert(where, f"{name}_p", 2 * norm.sf(table[name].abs() / deviation))
    return with_holm(table, *(f"{name}_p" for name in names))


def made_again(table: pd.DataFrame) -> pd.DataFrame:
    """What can be made of an earlier table."""
    for prefix in ("vs_plain", "vs_fixed"):
        if f"{prefix}_p" in table and f"{prefix}_gained" not in table:
            table = paired(table, prefix)
    if "observed_risk" in table and "observed_risk_low" not in table:
        table = risk(table)
    if "drop_difference" in table and "drop_difference_p" not in table:
        table = with_p(table, "drop_difference", "relative_drop_difference")
    if "vs_random" in table and "vs_random_p" not in table:
        table = with_p(table, "vs_random")
    if "measure" in table and "seeds" in table:
        table["low"] = np.maximum(table["low"], table["measure"].map(SMALLEST))
        table["high"] = np.minimum(table["high"], 1.0)
    return table


def main() -> None:
    for path in map(Path, sys.argv[1:]):
        before = pd.read_csv(path)
        after = made_again(before.copy())
        if not after.equals(before):
            with whole(path) as temporary:
                after.to_csv(temporary, index=False, float_format="%.10g")
            print(f"{path}: made again")


if __name__ == "__main__":
    main()
