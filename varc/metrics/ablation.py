"""What smoothing and fine-tuning bring, each alone and together, without pruning."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from varc.groups import Groups, unit_of
from varc.metrics.intervals import share_interval
from varc.metrics.paired import Difference, paired_difference
from varc.metrics.published import read_published
from varc.scoring.labelled import is_right

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
ITSELF = Difference(0.0, 0.0, 0.0, np.nan, 0, 0)  # the plain classifier's difference to itself, which is no test


def ablation_row(
    samples: Floats, own: Bools, reference_right: Bools | None, tokens: int, groups: Groups = None
) -> dict[str, Any]:
    """Figures of one row of tables/ablation.csv.

    samples (S, N, M): log-likelihoods of all classes, the clean sample first. own (N, M): which classes stand for the
    label. reference_right (N,): whether the plain classifier is right on each image; None for its own row, which
    tests nothing. log_likelihood_per_token: of the clean sample under the label, the best of its classes, in nats.
    groups (N,): intervals are over these, where there are any (`unit`).
    """
    right = is_right(samples.mean(0).argmax(1), own)
    n = len(right)
    low, high = share_interval(right, groups)
    compared = ITSELF if reference_right is None else paired_difference(right, reference_right, groups)
    log_likelihood = np.where(own, samples[0], -np.inf).max(axis=1)
    return {
        "images": n,
        "top1": right.mean(),
        "top1_low": low,
        "top1_high": high,
        "unit": unit_of(groups),
        **{f"vs_plain_{name}": value for name, value in compared._asdict().items()},
        "log_likelihood_per_token": log_likelihood.mean() / tokens,
    }


def with_paper(table: pd.DataFrame, published: str | None, base: str) -> pd.DataFrame:
    """The table with the paper's ablation (ImageNet-100, d16, another task) in columns of their own.

    base: the model that the plain classifier has; models that come from another one are controls of ours, and so are
    rows with scale_weights.
    published: a CSV whose rows of the dataset "ablation" name in `classifier` which of smoothing and CCA was on.
    """
    if published is None:
        return table
    figures = read_published(published, ["top1", "gflops"])
    figures = figures[figures["dataset"] == "ablation"].set_index("classifier")
    kinds = [
        paper_kind(str(training), samples) if own == base and not weights else None
        for training, samples, own, weights in zip(
            *(table[name] for name in ("training", "samples", "base", "scale_weights")), strict=True
        )
    ]
    columns = {
        f"paper_{name}": [figures[name].get(kind, np.nan) if kind else np.nan for kind in kinds]
        for name in ("top1", "gflops")
    }
    return table.assign(**columns)


def paper_kind(training: str, samples: int) -> str | None:
    """The paper's row that stands beside one of ours; None for a control."""
    if training not in ("train", "cca"):
        return None
    return {(False, False): "none", (True, False): "smoothing", (False, True): "cca", (True, True): "both"}[
        samples > 1, training == "cca"
    ]


def smoothing_rows(samples: Floats, own: Bools, counts: Sequence[int], groups: Groups = None) -> list[dict[str, Any]]:
    """Top-1 with 1, 2, ... samples, for the mean of the log-likelihoods and the log of the mean likelihood, and its
    paired difference to the first sample alone (vs_clean).

    samples (S, N, M), own (N, M) and groups (N,) as in ablation_row; counts: how many of them, from the first.
    """
    rows, clean = [], is_right(samples[0].argmax(1), own)
    for count in counts:
        some = samples[:count]
        for combine, scores in (
            ("mean_log_likelihood", some.mean(0)),
            ("log_mean_likelihood", logsumexp(some, axis=0)),
        ):
            right, n = is_right(scores.argmax(1), own), len(own)
            low, high = share_interval(right, groups)
            figures = {"images": n, "top1": int(right.sum()) / n, "top1_low": low, "top1_high": high}
            compared = ITSELF if count == 1 else paired_difference(right, clean, groups)
            difference = {f"vs_clean_{name}": value for name, value in compared._asdict().items()}
            rows.append({"samples": count, "combine": combine, **figures, "unit": unit_of(groups), **difference})
    return rows


def share_changed(clean: NDArray[np.uint16], noisy: Sequence[NDArray[np.uint16]]) -> float:
    """The share of tokens that differ from the clean sample's (N, L), a mean over the noisy samples."""
    return float(np.mean([(sample != clean).mean() for sample in noisy]))
