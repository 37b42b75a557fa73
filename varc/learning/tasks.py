"""The tasks that a data set's classes are learned in, and how well they are known after each."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

State = TypeVar("State")  # what a strategy has learned so far


def class_order(class_ids: Sequence[int], tasks: int, seed: int) -> list[list[int]]:
    """The classes of each task, in an order drawn by the seed."""
    order = np.random.default_rng([seed, tasks]).permutation(np.array(class_ids))
    return [sorted(int(c) for c in part) for part in np.array_split(order, tasks)]


def share_of_steps(settings: dict[str, Any], images: int, total: int) -> int:
    """How many steps some of the images get, so that each comes as often as in training on all of them."""
    return max(1, round(settings["steps"] * images / total))


def accuracies(
    states: Iterable[State],
    tasks: Sequence[Sequence[int]],
    labels: NDArray[np.int64],
    predict: Callable[[State, NDArray[np.bool_], list[int]], NDArray[np.integer[Any]]],
    report: Callable[[str], None],
) -> dict[str, list[Any]]:
    """Accuracy after each task on each task so far, as columns; each image is classified among all classes seen.

    predict(state, which, classes) gives predictions of the images where `which` (N,) holds.
    """
    columns: dict[str, list[Any]] = {name: [] for name in ("after_task", "on_task", "images", "accuracy")}
    for after, state in enumerate(states):
        seen = sorted(c for task in tasks[: after + 1] for c in task)
        which = np.isin(labels, seen)
        right = predict(state, which, seen) == labels[which]
        for on, task in enumerate(tasks[: after + 1]):
            own = right[np.isin(labels[which], task)]
            for name, value in zip(columns, (after, on, len(own), own.mean()), strict=True):
                columns[name].append(value)
        report(f"after task {after + 1}: {', '.join(f'{a:.4f}' for a in columns['accuracy'][-after - 1 :])}")
    return columns
