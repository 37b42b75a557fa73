"""varc show."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from varc.command.arguments import show_line
from varc.command.text import aligned, number
from varc.errors import InputError

FIRST = ("main", "accuracy")  # the table that says most, where no name is given
GAP = 2  # between columns


def run(given: argparse.Namespace) -> None:
    """Prints tables of a run."""
    found = tables_of(given.run)
    names = given.tables or [next((name for name in FIRST if name in found), next(iter(found)))]
    if names == ["all"]:
        names = list(found)
    if unknown := [name for name in names if name not in found]:
        raise InputError(f"{given.run}: has no table {unknown[0]!r}; it has {', '.join(found)}")
    tables = {name: read_table(found[name]) for name in names}
    if given.json:
        print(
            json.dumps({name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}, indent=1)
        )
        return
    for name, table in tables.items():
        show_line(f"{found[name]}")
        for line in lines(table, shutil.get_terminal_size((120, 24)).columns):
            show_line(line)
        show_line("")
    if not given.tables and (others := [name for name in found if name not in names]):
        show_line(f"more: varc show {given.run} {' '.join(others)}")


def tables_of(run: Path) -> dict[str, Path]:
    """The tables of a run by their names. Raises InputError where it has none."""
    if not run.is_dir():
        raise InputError(f"{run}: no such folder; give that of a run, results/<run>")
    found = {path.stem: path for path in sorted((run / "tables").glob("*.csv"))}
    if not found:
        raise InputError(f"{run}: has no tables; give the folder of a run that has ended, results/<run>")
    return found


def read_table(path: Path) -> pd.DataFrame:
    """A table. Raises InputError where it cannot be read."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); run its config again") from None


def lines(table: pd.DataFrame, width: int) -> list[str]:
    """A table as text, in as many blocks of columns as the width asks; each begins with the columns of names."""
    cells = {str(name): [cell(value) for value in table[name]] for name in table}
    right = {name for name in cells if pd.api.types.is_numeric_dtype(table[name])}
    kept = [name for name in ("dataset", "classifier") if name in cells]
    sizes = {name: max([len(name), *map(len, values)]) + GAP for name, values in cells.items()}
    blocks: list[list[str]] = [list(kept)]
    for name in (name for name in cells if name not in kept):
        if len(blocks[-1]) > len(kept) and sum(sizes[n] for n in blocks[-1]) + sizes[name] > width:
            blocks.append(list(kept))
        blocks[-1].append(name)
    found: list[str] = []
    for block in blocks:
        rows = [list(row) for row in zip(*(cells[name] for name in block), strict=True)]
        found += [*([""] if found else []), *aligned(block, rows, {i for i, name in enumerate(block) if name in right})]
    return found


def cell(value: Any) -> str:
    """A value as text; nothing for what is not defined."""
    if isinstance(value, float):
        return number(value)
    return "" if pd.isna(value) else str(value)
