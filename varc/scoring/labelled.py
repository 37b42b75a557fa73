"""Scores of all classes beside the images' labels, for the tables that compare them; without a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.errors import InputError
from varc.freshness import check_agree
from varc.groups import Groups
from varc.scoring.adaptive import scores_of_samples, stacked
from varc.scoring.funnel import as_labels, read_label_of
from varc.scoring.scale_weights import read_labelled_weights
from varc.storage import check_images, image_ids, read_groups, read_parquet


class LabelledScores(NamedTuple):
    """Log-likelihoods of N images under all M classes at K scales, in S samples, and the images' labels; times the
    weights of the scales, where they were read with some."""

    per_scale: NDArray[np.float64]  # (N, M, K): of the clean sample
    samples: NDArray[np.float64]  # (S, N, M): the clean one first
    image_ids: NDArray[np.object_]  # (N,)
    labels: NDArray[np.integer]  # (N,)
    class_ids: NDArray[np.integer]  # (M,)
    class_labels: NDArray[np.integer]  # (M,): the label that each class stands for
    groups: Groups = None  # (N,)

    @property
    def own(self) -> NDArray[np.bool_]:
        """Which classes stand for each image's label (N, M): one, or several where the data set says so."""
        return self.class_labels[None] == self.labels[:, None]


def is_right(best: NDArray[np.integer], own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the predicted class of each image, by its position (N,), stands for the label (own: (N, M))."""
    return np.take_along_axis(own, best[:, None], 1)[:, 0]


def read_labelled_scores(
    manifest: str | Path,
    paths: Sequence[str | Path],
    weights: NDArray[np.float64] | None = None,
    scales: int | None = None,
) -> LabelledScores:
    """The scores of all classes, with the labels of a manifest. paths: of each sample, the clean one first, all shards.
    weights (K,): of the scales. scales: at the first so many, of which files may have more; None: at all.

    Raises InputError for scores of other images than the manifest's, of other classes than its labels, or of several
    models.
    """
    listed = read_parquet(manifest, ["image_id", "label"])
    labels, ids = listed["label"].to_numpy(), image_ids(listed)
    check_agree(paths)
    samples = scores_of_samples(paths, len(ids), weights, scales)
    for sample in samples:
        check_images(paths[0], np.concatenate([shard.image_ids for shard in sample]), manifest, ids)
    per_scale, log_likelihood, class_ids = stacked(samples, paths, weights, scales)
    class_labels = as_labels(class_ids, read_label_of(manifest))
    if len(absent := np.setdiff1d(labels, class_labels)):
        raise InputError(
            f"{paths[0]} has no scores of class_id {absent[0]}, a label in {manifest}; delete it and rerun"
        )
    return LabelledScores(per_scale, log_likelihood, ids, labels, class_ids, class_labels, read_groups(manifest))


def read_weighted_scores(manifest: str | Path, paths: Sequence[str | Path], scale_weights: Any) -> LabelledScores:
    """What read_labelled_scores reads, with the weights in a file of fit_scale_weights; an empty list: all alike."""
    return read_labelled_scores(manifest, paths, read_labelled_weights(scale_weights, paths))
