"""How much accuracy classifiers lose under named shifts, and which loses more, on the same images."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from varc.errors import InputError
from varc.groups import Groups, unit_of
from varc.metrics.accuracy import right_predictions
from varc.metrics.intervals import flipped_interval, part_means, share_interval, wider
from varc.metrics.paired import same_images
from varc.storage import read_groups, read_parquet

RESAMPLES = 10_000
RESAMPLES_AT_ONCE = 100
Version = tuple[str, Any]  # a shift and its severity, or MEAN
CLEAN, ALL, MEAN = "clean", "all", "mean"
CLEAN_VERSION: Version = (CLEAN, 0)
PAIRED_COLUMNS = [
    "dataset", "shift", "classifier", "against", "images", "unit",
    *(f"{what}_difference{end}" for what in ("drop", "relative_drop") for end in ("", "_low", "_high", "_p")),
]  # fmt: skip


def is_right(predictions: pd.DataFrame) -> pd.Series:
    """Whether each prediction is right, by image_id."""
    return pd.Series(right_predictions(predictions), predictions["image_id"])


def right_answers(runs: Iterable[tuple[str, int, pd.Series]]) -> pd.DataFrame:
    """Per image (N rows) and (shift, severity) whether a classifier is right, from what is_right says of each.

    The column (CLEAN, 0) is of the images without a shift. Raises InputError where the images are not the same.
    """
    columns: dict[tuple[str, int], pd.Series] = {(shift, severity): right for shift, severity, right in runs}
    clean = columns[CLEAN_VERSION].index
    for (shift, severity), right in columns.items():
        if not right.index.equals(clean):
            raise InputError(f"{shift} {severity}: its images are not those without a shift; delete its predictions")
    return pd.DataFrame(columns)


def read_resampled(
    runs: Sequence[tuple[str, str, int, str]], paths: Sequence[str], manifests: Sequence[str]
) -> dict[str, "Resampled"]:
    """data set -> the bootstrap of its classifiers, from predictions and the manifests of what they are of.

    runs: (data set, shift, severity, classifier) of each path, with CLEAN and 0 for the images without a shift. Raises
    InputError as right_answers and Resampled do.
    """
    columns: dict[str, dict[str, list[tuple[str, int, pd.Series]]]] = {}
    groups: dict[str, Groups] = {}
    for (dataset, shift, severity, classifier), path, manifest in zip(runs, paths, manifests, strict=True):
        right = is_right(read_parquet(path).to_pandas())
        columns.setdefault(dataset, {}).setdefault(classifier, []).append((shift, severity, right))
        groups[dataset] = read_groups(manifest, right.index)
    rights = {dataset: {name: right_answers(own) for name, own in of.items()} for dataset, of in columns.items()}
    return {dataset: Resampled(found, groups[dataset]) for dataset, found in rights.items()}


def shift_means(right: pd.DataFrame) -> dict[Version, NDArray[np.float64]]:
    """Per image (N,) whether the answer is right: of each shift and severity, the mean over severities (shift, MEAN),
    and that over shifts, (ALL, MEAN), which weighs every shift alike.
    """
    answers: Any = right.astype(float)
    means: Any = answers.drop(columns=CLEAN, level=0).T.groupby(level=0, sort=False).mean().T
    found: dict[Version, NDArray[np.float64]] = {version: answers[version].to_numpy() for version in answers}
    found |= {(shift, MEAN): means[shift].to_numpy() for shift in means}
    return found | {(ALL, MEAN): means.mean(axis=1).to_numpy()}


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


def interval(value: float, resamples: Any) -> tuple[float, float]:
    """The percentile bootstrap's 95 % interval of a value; NaN where that, or a resample, is not defined."""
    low, high = np.quantile(resamples, [0.025, 0.975]) if np.isfinite(value) else (np.nan, np.nan)
    return float(low), float(high)


class Top1(NamedTuple):
    """Top-1 without a shift and under one: of all images, of one, or (RESAMPLES,) of each resample."""

    clean: Any
    shifted: Any

    @property
    def drop(self) -> Any:
        return self.clean - self.shifted

    @property
    def relative_drop(self) -> Any:
        """The drop as a share of the clean top-1; not finite where that is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.drop / self.clean


class Resampled:
    """The bootstrap of classifiers under the same shifts of the same images. Where these come in groups, beside it what
    varc.metrics.intervals.flipped_interval takes: then the wider of both intervals counts, and the larger p.

    Two images are added to those that resamples are drawn from, one with each of the two answers that are farthest from
    each other in what is measured (Laplace's adjustment, as Bonett and Price 2012 have it for pairs). Without them an
    interval would be too short where few images differ, and empty where none does.
    """

    def __init__(self, rights: dict[str, pd.DataFrame], groups: Groups = None):
        """rights: classifier -> its right_answers; groups (N,) of the images, in their order. Raises InputError where
        their images differ."""
        self.rights, self.images, self.groups = rights, same_images(rights), groups
        values = {(name, *version): own for name in rights for version, own in shift_means(rights[name]).items()}
        self.means = {of: own.mean() for of, own in values.items()}
        drawn = np.zeros((self.images + 2, len(values) + 2))
        drawn[:-2, :-2] = np.stack(list(values.values()), axis=1)
        drawn[-2:, -2:] = np.eye(2)
        *resamples, self.one, self.other = resampled_means(drawn).T
        self.resamples = dict(zip(values, resamples, strict=True))
        stacked = np.stack(list(values.values()), axis=1)
        self.parts = None if groups is None else dict(zip(values, part_means(stacked, groups).T, strict=True))

    def top1(self, classifier: str, version: Version) -> Top1:
        return Top1(self.means[classifier, *CLEAN_VERSION], self.means[classifier, *version])

    def of_parts(self, classifier: str, version: Version) -> Top1 | None:
        """Top-1 of each part of the groups; None without groups."""
        if self.parts is None:
            return None
        return Top1(self.parts[classifier, *CLEAN_VERSION], self.parts[classifier, *version])

    def drawn(self, classifier: str, version: Version, one: Top1, other: Top1) -> Top1:
        """Top-1 of each resample, with the classifier's answers on the two images that are added."""
        clean, shifted = self.resamples[classifier, *CLEAN_VERSION], self.resamples[classifier, *version]
        return Top1(
            clean + self.one * one.clean + self.other * other.clean,
            shifted + self.one * one.shifted + self.other * other.shifted,
        )


KEPT, LOST, WON = Top1(1, 1), Top1(1, 0), Top1(0, 1)


def robustness_rows(dataset: str, found: Resampled) -> list[dict[str, Any]]:
    """Rows of tables/robustness.csv: every shift at every severity, the mean over severities, the mean over all shifts.

    top1 with Wilson's interval at a severity, with the bootstrap's for means; relative_drop with the bootstrap's.
    """
    columns: list[Any] = next(iter(found.rights.values())).columns.drop(CLEAN_VERSION).tolist()
    shifts = dict.fromkeys(shift for shift, _ in columns)
    blocks: list[Version] = [block for s in shifts for block in [*(c for c in columns if c[0] == s), (s, MEAN)]]
    blocks.append((ALL, MEAN))
    return [
        {"dataset": dataset, "shift": version[0], "severity": version[1], "classifier": classifier}
        | {"images": found.images, **figures(found, classifier, version)}
        for version in blocks
        for classifier in found.rights
    ]


def figures(found: Resampled, classifier: str, version: Version) -> dict[str, float]:
    """Top-1 at one severity or over several, and what is lost, with intervals."""
    top1, drawn = found.top1(classifier, version), found.drawn(classifier, version, LOST, WON)
    parts = found.of_parts(classifier, version)
    if version[1] == MEAN:
        low, high = interval(top1.shifted, drawn.shifted)
        if parts:
            low, high = wider((low, high), flipped_interval(top1.shifted, parts.shifted)[:2])
            low, high = max(low, 0.0), min(high, 1.0)
    else:
        low, high = share_interval(found.rights[classifier][version].to_numpy(), found.groups)
    row = {"top1": top1.shifted, "top1_low": low, "top1_high": high, "relative_drop": top1.relative_drop}
    low, high = interval(top1.relative_drop, drawn.relative_drop)
    if parts:
        low, high = wider((low, high), flipped_interval(top1.relative_drop, parts.relative_drop)[:2])
    return row | {"relative_drop_low": low, "relative_drop_high": high, "unit": unit_of(found.groups)}


def paired_rows(dataset: str, found: Resampled) -> list[dict[str, Any]]:
    """Rows of tables/robustness_paired.csv: how much more each classifier loses than each one before it, per shift
    and in all.

    The intervals resample images, or groups; all versions of an image go together, and both classifiers see the same
    ones.
    """
    shifts = [shift for shift, severity in shift_means(next(iter(found.rights.values()))) if severity == MEAN]
    return [
        {"dataset": dataset, "shift": shift, "classifier": classifier, "against": against}
        | {"images": found.images, "unit": unit_of(found.groups)}
        | difference("drop", found, classifier, against, (shift, MEAN))
        | difference("relative_drop", found, classifier, against, (shift, MEAN))
        for against, classifier in combinations(found.rights, 2)
        for shift in shifts
    ]


def difference(measure: str, found: Resampled, one: str, other: str, version: Version) -> dict[str, float]:
    """A measure of one classifier minus that of another under a shift, with its interval, and p: the chance of a
    difference so large by the normal distribution, with the resamples' standard deviation, if there were none."""
    value = getattr(found.top1(one, version), measure) - getattr(found.top1(other, version), measure)
    drawn = found.drawn(one, version, LOST, KEPT), found.drawn(other, version, KEPT, LOST)
    resamples = getattr(drawn[0], measure) - getattr(drawn[1], measure)
    low, high = interval(value, resamples)
    p = 2 * float(norm.sf(abs(value) / resamples.std()))
    if parts := [own for name in (one, other) if (own := found.of_parts(name, version))]:
        over_groups = flipped_interval(value, getattr(parts[0], measure) - getattr(parts[1], measure))
        low, high, p = *wider((low, high), over_groups[:2]), max(p, over_groups.p)
    name = f"{measure}_difference"
    return {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_p": p}
