"""The intervals that docs/ quotes are those of the code: of every row whose counts stand in its table."""

import numpy as np
import pandas as pd
import pytest
from configs import ROOT

from varc.metrics.holm import holm
from varc.metrics.paired import Difference, difference_of_counts

TABLES = {path.name: pd.read_csv(path) for path in sorted((ROOT / "docs").glob("*.csv"))}
PAIRED = [(name, p) for name, table in TABLES.items() for p in ("vs_plain", "vs_fixed") if f"{p}_p" in table]


@pytest.mark.parametrize(("name", "prefix"), PAIRED)
def test_paired_differences(name, prefix):
    table, fields = TABLES[name], [f"{prefix}_{field}" for field in Difference._fields]
    known = table.dropna(subset=[f"{prefix}_gained", f"{prefix}_p"])  # p is empty where nothing is compared
    for _, row in known.iterrows():
        counts = int(row[f"{prefix}_gained"]), int(row[f"{prefix}_lost"])
        assert tuple(row[fields]) == pytest.approx(
            difference_of_counts(*counts, int(row["images"])), rel=1e-8, abs=1e-9
        )
    rest = table[table[f"{prefix}_gained"].isna()].dropna(subset=f"{prefix}_p")
    assert (rest[f"{prefix}_p"] == 1).all() and len(rest) < len(known)  # whose counts their p does not tell
    assert holm(table[f"{prefix}_p"].to_numpy()) == pytest.approx(table[f"{prefix}_p_holm"].to_numpy(), nan_ok=True)


def test_no_interval_of_a_share_passes_0_or_100_percent():
    for name, table in TABLES.items():
        for low in (column for column in table if column.endswith("low")):
            least = 0.0 if low.startswith(("top", "observed", "recall", "auc")) else -1.0
            high = low.removesuffix("low") + "high"
            found = table[[low, high]].dropna().to_numpy()
            assert (found >= least).all() and (found <= 1).all() and (found[:, 0] <= found[:, 1]).all(), (name, low)
    shares = TABLES["incremental.csv"].query("measure != 'forgetting'")
    assert np.nanmin(shares["low"]) >= 0
