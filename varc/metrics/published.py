"""Published figures, from a CSV that a config names."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from varc.bounded import read_text
from varc.errors import InputError

LARGEST_TABLE = 2**24  # bytes


def read_published(path: str | Path, figures: Iterable[str]) -> pd.DataFrame:
    """The columns dataset, classifier and the named figures, which are numbers, or empty. Raises InputError for a file
    that cannot be read, and for another content."""
    columns = ["dataset", "classifier", *figures]
    try:
        table = pd.read_csv(io.StringIO(read_text(path, LARGEST_TABLE)))
        if absent := [name for name in columns if name not in table]:
            raise ValueError(f"it has no column {absent[0]}")
        return table[columns].astype(dict.fromkeys(figures, float))
    except (OSError, ValueError, csv.Error) as error:  # pandas' own errors are ValueErrors
        found = f"{path}: the published figures cannot be read ({error})"
        raise InputError(f"{found}; set published to a CSV with the columns {', '.join(columns)}") from None
