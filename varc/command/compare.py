"""varc compare."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varc.classify.runs import read_record
from varc.command.arguments import show_line
from varc.command.text import aligned, number
from varc.errors import InputError
from varc.metrics.runs import compare_runs, differing_keys

LONGEST = 50  # characters of a value


def run(given: argparse.Namespace) -> None:
    """Prints the paired differences of two runs, and which keys of their configs differ."""
    configs = [config_of(folder) for folder in (given.run, given.other)]
    table, keys = compare_runs(given.run, given.other), differing_keys(*configs)
    if given.json:
        rows = json.loads(table.to_json(orient="records", double_precision=15))
        print(json.dumps({"run": str(given.run), "other": str(given.other), "pairs": rows, "config": keys}, indent=1))
        return
    show_line(f"top-1 in percent: {given.run}, {given.other}, and the second minus the first on the same images")
    rows = [pair(row) for row in table.to_dict("records")]
    head = ["dataset", "classifier", "images", "first", "second", "difference [95 %]", "p", "p (Holm)"]
    for line in aligned(head, rows, right=(2, 3, 4, 6, 7)):
        show_line(line)
    if left_out := int(table["left_out"].sum()):
        show_line(f"{left_out} predictions are left out, of images that one run alone has")
    show_line(f"keys of the configs that differ: {len(keys)}")
    told = [[entry["key"], text(entry["run"]), text(entry["other"])] for entry in keys]
    for line in aligned(["key", "first", "second"], told) if keys else ():
        show_line(f"  {line}")


def config_of(folder: Path) -> dict[str, Any]:
    """The config of a run, without what it says of its making."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give that of a run, results/<run>")
    return {key: value for key, value in read_record(folder).items() if key != "made_with"}


def text(value: Any) -> str:
    """A value of a config, its beginning where it is long; --json has all of it."""
    whole = value if isinstance(value, str) else json.dumps(value, default=str)
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 3]}..."


def pair(row: Mapping[Any, Any]) -> list[str]:
    """A row of the table as texts."""
    low, difference, high = (f"{100 * row[key]:+.1f}" for key in ("low", "difference", "high"))
    return [
        row["dataset"],
        row["classifier"],
        str(row["images"]),
        f"{100 * row['top1']:.1f}",
        f"{100 * row['other_top1']:.1f}",
        f"{difference} [{low}, {high}]",
        number(row["p"], 2),
        number(row["p_holm"], 2),
    ]
