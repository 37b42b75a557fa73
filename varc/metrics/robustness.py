"""How much accuracy classifiers lose under named shifts, and which loses more, on the same images."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from varc.errors import InputError
from varc.metrics.accuracy import right_predictions, wilson_interval
from varc.storage import read_parquet

RESAMPLES = 10_000
RESAMPLES_AT_ONCE = 100
CLEAN, ALL, MEAN = "clean", "all", "mean"
PAIRED_COLUMNS = [
    "dataset", "shift", "classifier", "against", "images",
    *(f"{what}{end}" for what in ("drop_difference", "relative_drop_difference") for end in ("", "_low", "_high")),
]  # fmt: skip


def is_right(predictions: pd.DataFrame) -> pd.Series:
    """Whether each prediction is right, by image_id."""
    return pd.Series(right_predictions(predictions), predictions["image_id"])


def right_answers(runs: Iterable[tuple[str, int, pd.Series]]) -> pd.DataFrame:
    """Per image (N rows) and (shift, severity) whether a classifier is right, from what is_right says of each.

    The column (CLEAN, 0) is of the images without a shift. Raises InputError where the images are not the same.
    """
    columns: dict[tuple[str, int], pd.Series] = {(shift, severity): right for shift, severity, right in runs}
    clean = columns[CLEAN, 0].index
    for (shift, severity), right in columns.items():
        if not right.index.equals(clean):
            raise InputError(f"{shift} {severity}: its images are not those without a shift; delete its predictions")
    return pd.DataFrame(columns)


def read_right_answers(
    runs: Sequence[tuple[str, str, int, str]], paths: Sequence[str]
) -> dict[str, dict[str, pd.DataFrame]]:
    """data set -> classifier -> its right_answers, from predictions.

    runs: (data set, shift, severity, classifier) of each path, with CLEAN and 0 for the images without a shift. Raises
    InputError as right_answers does.
    """
    columns: dict[str, dict[str, list[tuple[str, int, pd.Series]]]] = {}
    for (dataset, shift, severity, classifier), path in zip(runs, paths, strict=True):
        right = is_right(read_parquet(path).to_pandas())
        columns.setdefault(dataset, {}).setdefault(classifier, []).append((shift, severity, right))
    return {dataset: {name: right_answers(own) for name, own in of.items()} for dataset, of in columns.items()}


def shift_means(right: pd.DataFrame) -> pd.DataFrame:
    """Per image (N rows) the share of right answers: clean, under each shift (over severities), and under all.

    `all` weighs every shift alike.
    """
    means = right.astype(float).T.groupby(level=0, sort=False).mean().T
    return means.assign(**{ALL: means.drop(columns=CLEAN).mean(axis=1)})


def resampled_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means (RESAMPLES, C) over images drawn with replacement from values (N, C), seeded.

    An image is drawn with all its columns, so what is compared within a resample is compared on the same images.
    """
    rng, n = np.random.default_rng(0), len(values)
    means = []
    for _ in range(RESAMPLES // RESAMPLES_AT_ONCE):
        drawn = rng.integers(n, size=(RESAMPLES_AT_ONCE, n)) + n * np.arange(RESAMPLES_AT_ONCE)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=RESAMPLES_AT_ONCE * n).reshape(-1, n)
        means.append(counts @ values / n)
    return np.concatenate(means)


def interval(resamples: pd.Series) -> tuple[float, float]:
    """The percentile bootstrap's 95 % interval."""
    low, high = np.quantile(resamples, [0.025, 0.975])
    return float(low), float(high)


class Resampled(NamedTuple):
    """Classifiers under the same shifts of the same images.

    rights: classifier -> its right_answers. means: of shift_means, by (classifier, shift). resamples: RESAMPLES rows of
    such means, each over other images.
    """

    rights: dict[str, pd.DataFrame]
    images: int
    means: pd.Series
    resamples: pd.DataFrame


def resampled(rights: dict[str, pd.DataFrame]) -> Resampled:
    """The bootstrap of classifiers' right_answers. Raises InputError where their images differ."""
    first = next(iter(rights.values())).index
    for name, right in rights.items():
        if not right.index.equals(first):
            raise InputError(f"{name}: its images are not those of the other classifiers; delete its predictions")
    values = pd.concat({name: shift_means(right) for name, right in rights.items()}, axis=1)
    resamples = pd.DataFrame(resampled_means(values.to_numpy()), columns=values.columns)
    return Resampled(rights, len(first), values.mean(), resamples)


def drop(means: Any, classifier: str, shift: str) -> Any:
    """Clean top-1 minus that under a shift, of Resampled's means or of its resamples."""
    return means[classifier, CLEAN] - means[classifier, shift]


def relative_drop(means: Any, classifier: str, shift: str) -> Any:
    """The drop as a share of the clean top-1; not finite where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return drop(means, classifier, shift) / means[classifier, CLEAN]


def robustness_rows(dataset: str, found: Resampled) -> list[dict[str, Any]]:
    """Rows of tables/robustness.csv: every shift at every severity, the mean over severities, the mean over all shifts.

    top1 with Wilson's interval at a severity, with the bootstrap's for means. relative_drop: see there.
    """
    columns: list[Any] = next(iter(found.rights.values())).columns.drop((CLEAN, 0)).tolist()
    shifts = dict.fromkeys(shift for shift, _ in columns)
    blocks = [block for s in shifts for block in [*(c for c in columns if c[0] == s), (s, MEAN)]]
    blocks.append((ALL, MEAN))
    return [
        {"dataset": dataset, "shift": shift, "severity": severity, "classifier": classifier, "images": found.images}
        | (mean_figures(found, classifier, shift) if severity == MEAN else figures(found, classifier, shift, severity))
        for shift, severity in blocks
        for classifier in found.rights
    ]


def figures(found: Resampled, classifier: str, shift: str, severity: int) -> dict[str, float]:
    """Top-1 at one severity with Wilson's interval, and what is lost."""
    right = found.rights[classifier][shift, severity]
    low, high = wilson_interval(int(right.sum()), found.images)
    means = {(classifier, CLEAN): found.means[classifier, CLEAN], (classifier, shift): right.mean()}
    lost = relative_drop(means, classifier, shift)
    return {"top1": right.mean(), "top1_low": low, "top1_high": high, "relative_drop": lost}


def mean_figures(found: Resampled, classifier: str, shift: str) -> dict[str, float]:
    """Top-1 over severities, and for `all` over shifts, with the bootstrap's interval, and what is lost."""
    low, high = interval(found.resamples[classifier, shift])
    lost = relative_drop(found.means, classifier, shift)
    return {"top1": found.means[classifier, shift], "top1_low": low, "top1_high": high, "relative_drop": lost}


def paired_rows(dataset: str, found: Resampled) -> list[dict[str, Any]]:
    """Rows of tables/robustness_paired.csv: how much more each classifier loses than each one before it, per shift
    and in all.

    The intervals resample images; all versions of an image go together, and both classifiers see the same ones.
    """
    return [
        {"dataset": dataset, "shift": shift, "classifier": classifier, "against": against, "images": found.images}
        | difference("drop_difference", drop, found, (classifier, against, shift))
        | difference("relative_drop_difference", relative_drop, found, (classifier, against, shift))
        for against, classifier in combinations(found.rights, 2)
        for shift in found.means[against].index.drop(CLEAN)
    ]


def difference(name: str, measure: Any, found: Resampled, which: tuple[str, str, str]) -> dict[str, float]:
    """A measure of one classifier minus that of another under a shift, with its interval."""
    one, other, shift = which
    value, resamples = (measure(of, one, shift) - measure(of, other, shift) for of in (found.means, found.resamples))
    low, high = interval(resamples)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
