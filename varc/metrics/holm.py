"""p of many comparisons, adjusted for their number."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """p (N,) adjusted so that all N tests together err with a chance of at most the level (Holm 1979).

    NaN stands for no test: it stays, and does not count.
    """
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN comes last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def with_holm(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table with `<column>_holm` beside each column of p, adjusted over all rows; as it is without rows."""
    table = table.copy()
    for column in columns:
        adjusted = holm(table[column].to_numpy(dtype=float))
        table.insert(list(table).index(column) + 1, f"{column}_holm", adjusted)
    return table
