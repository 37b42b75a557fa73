"""How tables are shown, in Markdown and in the report."""

import re
from typing import Any

import pandas as pd

from varc.errors import in_one_line

# Columns that are shares, or differences of shares, in all tables, and those of one table.
SHARES = re.compile(
    r"(paper_)?(top1|top5|recall|observed_(risk|loss|early_loss)|group_risk|share|(relative_)?drop(_difference)?)"
    r"(_low|_high)?|vs_(plain|fixed)_(difference|low|high)|ece_\w+|judge_agrees|tokens_changed|settled|of_varc|of_plan"
)
SHARES_OF = {
    "main_paired": ("difference", "low", "high"),
    "incremental": ("mean", "low", "high", "paper_average"),
}


def shown(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table of a name as texts to be read: shares in percent with one decimal, as their columns say, other numbers
    with six significant digits, nothing for what is not defined. Differences of shares are in percentage points."""
    columns: dict[str, list[str]] = {}
    for column in map(str, table.columns):
        share = SHARES.fullmatch(column) or column in SHARES_OF.get(name, ())
        columns[f"{column} %" if share else column] = [percent(v) if share else cell(v) for v in table[column]]
    return pd.DataFrame(columns, dtype=object)


def percent(value: Any) -> str:
    """A share in percent with one decimal."""
    return "" if pd.isna(value) else f"{round(100 * value, 1) + 0.0:.1f}"  # + 0.0: none is -0.0


def cell(value: Any) -> str:
    """A value with six significant digits, in one line."""
    if pd.isna(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else in_one_line(str(value))


def as_markdown(table: pd.DataFrame) -> str:
    """A Markdown table of texts."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy(dtype=object).tolist()]
    return "\n".join("| " + " | ".join(value.replace("|", "\\|") for value in row) + " |" for row in rows)
