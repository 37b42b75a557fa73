"""The funnel: ranking, pruning and predicting from scores, without a model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.errors import InputError
from varc.scoring.combining import combined
from varc.storage import column_matrix, image_ids, provenance, read_parquet, scales_in

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """Log-likelihoods of N images under M candidates each, in nats; class_ids ascend in each row."""

    image_ids: NDArray[np.object_]  # (N,)
    class_ids: Ints  # (N, M)
    log_likelihood: Floats  # (N, M)


def read_scores(path: str | Path, scales: int | None = None, weights: Floats | None = None) -> Scores:
    """A scores file: log-likelihoods at its first scales, of which it may have more; None: at all that it has. weights:
    what each of them is multiplied by (see varc.scoring.scale_weights).

    Raises InputError for a damaged file, for one of fewer scales, and for log-likelihoods that are not finite.
    """
    held = scales_in(path)
    if scales is not None and scales > held:
        raise InputError(f"{path}: has scores at {held} scales, and {scales} are asked for; delete it and run again")
    whole = scales in (None, held) and weights is None
    table = read_parquet(path, ["image_id", "class_id", "log_likelihood" if whole else "per_scale"])
    shape = (provenance(path)["images"], -1)
    if whole:
        log_likelihood = table["log_likelihood"].to_numpy().reshape(shape)
    else:
        per_scale = column_matrix(table, "per_scale")[:, :scales]
        log_likelihood = over_scales(per_scale, weights).reshape(shape)
    if not np.isfinite(log_likelihood).all():
        raise InputError(f"{path}: holds log-likelihoods that are not finite; check the model, and delete the file")
    ids = image_ids(table).reshape(shape)[:, 0]
    return Scores(ids, table["class_id"].to_numpy().reshape(shape), log_likelihood)


def over_scales(per_scale: Floats, weights: Floats | None = None) -> Floats:
    """The sum of log-likelihoods (..., k) over the scales, times their weights (k,) where there are any."""
    return (per_scale if weights is None else per_scale * weights).sum(-1)


def read_per_scale(path: str | Path) -> NDArray[np.float64]:
    """The log-likelihoods per scale (N, M, k) of a scores file, in the order of read_scores."""
    values = column_matrix(read_parquet(path, ["per_scale"]), "per_scale")
    return values.reshape(provenance(path)["images"], -1, values.shape[1])


def read_candidates(path: str | Path, images: NDArray[np.object_]) -> NDArray[np.int32]:
    """The candidates (N, M) of a candidates file, each row ascending, of the given images in their order."""
    table = read_parquet(path, ["image_id", "class_id"])
    shape = (provenance(path)["images"], -1)
    if not np.array_equal(image_ids(table).reshape(shape)[:, 0], images):
        raise InputError(f"{path}: holds other images than the tokens; delete it and run the same command again")
    return np.sort(table["class_id"].to_numpy().reshape(shape), axis=1)


def all_classes(class_ids: Sequence[int], images: int, card: dict[str, Any]) -> NDArray[np.int32]:
    """All class_ids (N, M) for each image. Raises InputError for one that the model of the card lacks."""
    known = card["architecture"]["num_classes"]
    if class_ids[-1] >= known:
        raise InputError(f"class_id {class_ids[-1]} is in the class list, but the model knows 0 to {known - 1} only")
    return np.tile(np.array(class_ids, np.int32), (images, 1))


def select(scores: Scores, class_ids: Ints) -> Scores:
    """The scores of the candidates class_ids (N, M'), a subset of those scored, each row ascending."""
    if scores.class_ids.shape == class_ids.shape:
        positions = np.broadcast_to(np.arange(class_ids.shape[1]), class_ids.shape)
    else:
        positions = (scores.class_ids[:, None, :] < class_ids[:, :, None]).sum(-1)
        positions = np.minimum(positions, scores.class_ids.shape[1] - 1)
    if not np.array_equal(np.take_along_axis(scores.class_ids, positions, 1), class_ids):
        raise InputError("a stage's candidates were not all scored before; delete results of the run and start again")
    return Scores(scores.image_ids, class_ids, np.take_along_axis(scores.log_likelihood, positions, 1))


def select_images(scores: Scores, which: Sequence[int]) -> Scores:
    """The scores of the images at some positions."""
    rows = np.array(which, np.intp)
    return Scores(scores.image_ids[rows], scores.class_ids[rows], scores.log_likelihood[rows])


def over_samples(samples: Sequence[Scores], combine: str = "mean") -> Scores:
    """The log-likelihood over a stage's samples, by default the mean (likelihood smoothing); see combined.

    The candidates are those of the last sample: the clean one may come from an earlier stage, which scored more.
    """
    class_ids = samples[-1].class_ids
    for sample in samples:
        if not np.array_equal(sample.image_ids, samples[-1].image_ids):
            raise InputError("the samples of a stage hold different images; delete the run's scores and start again")
    selected = [select(sample, class_ids).log_likelihood for sample in samples]
    return Scores(samples[-1].image_ids, class_ids, combined(selected, combine))


def ranks(scores: Scores) -> Ints:
    """The rank (N, M), from 1, of each candidate; of equal scores the smaller class_id comes first."""
    order = best_first(scores)
    result = np.empty_like(order)
    np.put_along_axis(result, order, np.arange(1, order.shape[1] + 1)[None], axis=1)
    return result


def best_first(scores: Scores, keep: int | None = None) -> NDArray[np.intp]:
    """The positions (N, keep) of the best candidates of each image, best first; None, and where there are fewer: all.
    Of equal scores the smaller class_id comes first."""
    return np.argsort(-scores.log_likelihood, axis=1, kind="stable")[:, :keep]


def best_classes(scores: Scores) -> Ints:
    """The class_id (N,) of the best candidate of each image."""
    return np.take_along_axis(scores.class_ids, best_first(scores, 1), 1)[:, 0]


def staged(
    score: Callable[[int, Ints, Scores | None], Floats],
    keeps: Sequence[int],
    candidates: Ints,
    image_ids: NDArray[np.object_],
) -> list[Scores]:
    """The scores of all stages of a funnel, one after the other in this process; jobs do it file by file.

    score(i, candidates, before): log-likelihoods (N, M) of stage i (from 0) for the candidates (N, M), each row
    ascending; before: what the stage before found of these, None for the first. keeps: how many classes each stage
    keeps for the next. candidates: of the first one.
    """
    found: list[Scores] = []
    before = None
    for i, keep in enumerate(keeps):
        found.append(Scores(image_ids, candidates, score(i, candidates, before)))
        candidates = np.sort(np.take_along_axis(candidates, best_first(found[-1], keep), 1), axis=1)
        before = select(found[-1], candidates)
    return found


def prune(scores: Scores, keep: int) -> dict[str, NDArray[Any]]:
    """The best `keep` candidates of each image (all, where there are fewer), best first, as columns of `candidates`."""
    order = best_first(scores, keep)
    keep = order.shape[1]
    return {
        "image_id": np.repeat(scores.image_ids, keep),
        "class_id": np.take_along_axis(scores.class_ids, order, 1).ravel(),
        "rank": np.tile(np.arange(1, keep + 1), len(scores.image_ids)),
        "score": np.take_along_axis(scores.log_likelihood, order, 1).ravel(),
    }


def read_label_of(manifest: str | Path) -> dict[int, int]:
    """class_id -> label of a manifest, where several class_ids stand for one class of the data set; else empty."""
    return {int(class_id): label for class_id, label in provenance(manifest).get("label_of", {}).items()}


def as_labels(class_ids: Ints, label_of: dict[int, int]) -> Ints:
    """The labels that class_ids stand for; themselves, where label_of does not name them."""
    if not label_of:
        return class_ids
    ids, index = np.unique(class_ids, return_inverse=True)
    return np.array([label_of.get(int(i), int(i)) for i in ids], class_ids.dtype)[index].reshape(class_ids.shape)


def predict(stages: Sequence[Scores], labels: Ints, label_of: dict[int, int]) -> dict[str, Any]:
    """The last stage's best candidate of each image, as columns of `predictions`.

    score: its mean log-likelihood. margin: how far it is ahead of the runner-up; both are null where the last stage
    had one candidate. rank_stage<i>: the label's rank in each stage, null once it was pruned; the best rank, where
    several class_ids stand for it (label_of).
    """
    last = stages[-1]
    order = best_first(last)
    best_ids = np.take_along_axis(last.class_ids, order, 1)
    best = np.take_along_axis(last.log_likelihood, order, 1)
    alone = best.shape[1] == 1
    return {
        "image_id": last.image_ids,
        "label": labels,
        "prediction": best_ids[:, 0],
        "score": best[:, 0],
        "runner_up": [None] * len(best) if alone else best_ids[:, 1],
        "margin": [None] * len(best) if alone else best[:, 0] - best[:, 1],
        **{f"rank_stage{i + 1}": label_ranks(stage, labels, label_of) for i, stage in enumerate(stages)},
    }


def label_ranks(scores: Scores, labels: Ints, label_of: dict[int, int]) -> list[int | None]:
    """The rank of each image's label among its candidates, None where it is not one of them."""
    hit = as_labels(scores.class_ids, label_of) == labels[:, None]
    behind_all = scores.class_ids.shape[1] + 1
    rank = np.where(hit, ranks(scores), behind_all).min(axis=1)
    return [int(r) if r < behind_all else None for r in rank]
