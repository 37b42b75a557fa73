"""Two runs, side by side: their classifiers on the same images, and what their configs say otherwise."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from varc.errors import InputError
from varc.groups import unit_of
from varc.metrics.holm import with_holm
from varc.metrics.paired import Difference, paired_difference
from varc.metrics.robustness import is_right
from varc.storage import read_groups, read_parquet

ABSENT = "absent"
COLUMNS = [
    "dataset", "classifier", "images", "left_out", "unit", "top1", "other_top1", *Difference._fields[:4], "p_holm",
    *Difference._fields[4:],
]  # fmt: skip


def predictions(folder: Path) -> dict[tuple[str, str], Path]:
    """(data set, classifier) -> the predictions that a run has."""
    files = sorted((folder / "predictions").glob("*/*.parquet"))
    return {(file.stem, file.parent.name): file for file in files if not file.name.startswith(".")}


def compare_runs(folder: Path, other: Path) -> pd.DataFrame:
    """A row for each data set and classifier that both runs have: the other's top-1 minus the first's on the images
    that both have, by image_id, with the interval and p of main_paired.csv, and Holm's p over the rows.

    left_out: images that one run alone has. Raises InputError where there is nothing to compare, and where an image has
    another label in either run.
    """
    found, others = predictions(folder), predictions(other)
    rows = [row for pair in found if pair in others for row in compared(folder, *pair, found[pair], others[pair])]
    if not rows:
        told = (f"{run} has {names(pairs)}" for run, pairs in ((folder, found), (other, others)))
        raise InputError(f"no classifier of both runs has the same images: {'; '.join(told)}")
    return with_holm(pd.DataFrame(rows), "p")[COLUMNS]


def names(pairs: Mapping[tuple[str, str], Path]) -> str:
    """Predictions in words."""
    return ", ".join(f"{classifier} on {dataset}" for dataset, classifier in pairs) or "no predictions"


def compared(folder: Path, dataset: str, classifier: str, path: Path, other: Path) -> Iterator[dict[str, Any]]:
    """The row of a data set and classifier, none where no image is in both runs. path, other: the predictions."""
    tables = [read_parquet(file).to_pandas() for file in (path, other)]
    both = tables[0]["image_id"][tables[0]["image_id"].isin(tables[1]["image_id"])].tolist()
    if not both:
        return
    labels = [table.set_index("image_id")["label"][both] for table in tables]
    if (wrong := labels[0].to_numpy() != labels[1].to_numpy()).any():
        image_id = both[int(wrong.argmax())]
        told = f"label {labels[0][image_id]} in {path}, but {labels[1][image_id]} in {other}"
        raise InputError(f"{image_id}: {told}; the runs have other data or another class list")
    right, other_right = (is_right(table)[both].to_numpy() for table in tables)
    groups = read_groups(folder / "datasets" / f"{dataset}.parquet", both)
    yield {
        "dataset": dataset,
        "classifier": classifier,
        "images": len(both),
        "left_out": sum(map(len, tables)) - 2 * len(both),
        "unit": unit_of(groups),
        "top1": right.mean(),
        "other_top1": other_right.mean(),
        **paired_difference(other_right, right, groups)._asdict(),
    }


def flat(config: Any, key: str = "") -> dict[str, Any]:
    """The values of a config by their keys, as "models.base.train.data"; a list is a value."""
    if not isinstance(config, Mapping) or not config:
        return {key: config}
    found = (flat(value, f"{key}.{name}" if key else str(name)) for name, value in config.items())
    return {name: value for part in found for name, value in part.items()}


def differing_keys(config: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The keys of two configs that differ, with both values, ABSENT where one has none; but for the run's name."""
    one, two = flat(config), flat(other)
    keys = [key for key in [*one, *(key for key in two if key not in one)] if key != "run"]
    both = ((key, one.get(key, ABSENT), two.get(key, ABSENT)) for key in keys)
    return [{"key": key, "run": first, "other": second} for key, first, second in both if first != second]
