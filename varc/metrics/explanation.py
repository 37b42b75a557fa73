"""How faithful maps are: areas under insertion and deletion curves, with intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import rankdata, ttest_1samp

from varc.explain.faithfulness import auc, class_probability
from varc.groups import Groups, unit_of
from varc.metrics.intervals import flipped_interval, part_means, wider
from varc.metrics.published import read_published
from varc.storage import column_matrix, image_ids, provenance, read_parquet

RESAMPLES = 2000
Floats = NDArray[np.float64]


class Curves(NamedTuple):
    """A judge's scores along the curves of N images, and which class is followed."""

    image_ids: NDArray[np.object_]  # (N,)
    target: NDArray[np.integer[Any]]  # (N,), positions among the classes
    scores: Floats  # (N, steps + 1, M)


def read_curves(paths: Sequence[str | Path], curve: str, substrate: str) -> Curves:
    """One kind of curves of all shards, one after the other."""
    wanted = (pc.field("curve") == curve) & (pc.field("substrate") == substrate)
    tables = [read_parquet(path).filter(wanted) for path in paths]
    class_ids = np.array(provenance(paths[0])["class_ids"])
    scores = np.concatenate([column_matrix(table, "scores") for table in tables])
    target = np.searchsorted(class_ids, np.concatenate([table["target"].to_numpy() for table in tables]))
    ids = np.concatenate([image_ids(table) for table in tables])
    return Curves(ids, target, scores.reshape(len(ids), -1, len(class_ids)))


def bootstrap_interval(values: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of values (N,), resampling images (seeded)."""
    rng = np.random.default_rng(0)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mean_interval(values: Floats, groups: Groups, least: float) -> tuple[float, float]:
    """The 95 % interval of the mean of values (N,), which are between `least` and 1.

    By the bootstrap over images; with groups (N,) the wider of that and varc.metrics.intervals.flipped_interval's.
    """
    over_images = bootstrap_interval(values)
    if groups is None:
        return over_images
    low, high, _ = flipped_interval(values.mean(), part_means(values, groups))
    return wider(over_images, (max(low, least), min(high, 1.0)))


def p_of_mean(values: Floats, groups: Groups) -> float:
    """p of the mean of values (N,) being 0: by the t test over images, or by the groups' sign-flip test if larger."""
    p = float(ttest_1samp(values, 0).pvalue) if values.any() else 1.0
    return p if groups is None else max(p, flipped_interval(values.mean(), part_means(values, groups)).p)


def difference_row(name: str, gain: Floats, groups: Groups) -> dict[str, float]:
    """The mean of paired differences (N,) between -1 and 1 under a name, its interval and p; see mean_interval and
    p_of_mean."""
    low, high = mean_interval(gain, groups, -1.0)
    found = {"": float(gain.mean()), "_low": low, "_high": high, "_p": p_of_mean(gain, groups)}
    return {f"{name}{end}": value for end, value in found.items()}


def auc_row(curves: Curves, temperature: float, random: Curves | None, groups: Groups = None) -> dict[str, Any]:
    """Mean AUC of the target's probability, its interval, and the paired difference to the random map's curves of the
    same images, if given, with its interval and p of the paired t test.

    groups (N,) of the images: see mean_interval; unit says which.
    """
    areas = auc(class_probability(curves.scores, curves.target, temperature))
    low, high = mean_interval(areas, groups, 0.0)
    row = {"auc": float(areas.mean()), "auc_low": low, "auc_high": high, "unit": unit_of(groups)}
    if random is not None:
        gain = areas - auc(class_probability(random.scores, random.target, temperature))
        row |= difference_row("vs_random", gain, groups)
    return row


def judge_agrees(curves: Curves, whole: int) -> float:
    """The share of images whose target is the judge's best class where the whole image is seen (position `whole`)."""
    return float((curves.scores[:, whole].argmax(-1) == curves.target).mean())


def rank_correlation(maps: Floats, other: Floats) -> float:
    """Spearman's correlation of two maps (N, pixels) of each image, averaged over images; constant maps count as 0."""
    a, b = (rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (maps, other))
    norm = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return float(((a * b).sum(1) / np.maximum(norm, 1e-12)).mean())


def with_paper(table: pd.DataFrame, published: str | None) -> pd.DataFrame:
    """The table with the paper's AUC of TMI (ImageNet-100, another protocol) in a column of its own.

    published: a CSV whose rows of the data set "explanation" name the curve in `classifier`, its AUC in `top1`.
    """
    if published is None:
        return table
    figures = read_published(published, ["top1"])
    known = figures[figures["dataset"] == "explanation"].set_index("classifier")["top1"]
    ours = (table["method"] == "tmi") & (table["judge"] == "varc") & (table["temperature"] == 1)
    paper = [known[curve] if own else np.nan for curve, own in zip(table["curve"], ours, strict=True)]
    return table.assign(paper_auc=paper)
