"""How many groups should give the shape of an adaptive funnel's thresholds: python benchmarks/adaptive_groups.py.

Simulated scores of images in groups that differ in how clear their cases are and in which classes they favour. Of each
share of the groups: which part of the passes is scored, and the risk on new groups; the last column calibrates on
images as if they were independent. A minute.
"""

import numpy as np
from numpy.typing import NDArray

from varc.metrics.intervals import by_group
from varc.scoring import adaptive
from varc.scoring.adaptive import calibrate, class_behind, simulate

REPETITIONS, IMAGES, CLASSES = 60, 80, 10
NOISE, SIGNAL = np.array([1.0, 1.2, 1.5, 1.5]), np.array([0.8, 1.6, 2.0, 2.0])  # of each scale
CASES = [(40, 0.05), (60, 0.05), (60, 0.02), (130, 0.02), (130, 0.01), (230, 0.01)]  # groups, alpha
SHARES = (2, 3, 5, 10)


def drawn(rng: np.random.Generator, groups: int, images: int) -> tuple[NDArray[np.float64], ...]:
    """Scores (N, M, K) of all classes, the labels (N,), and the groups (N,)."""
    of = np.repeat(np.arange(groups), images)
    label = rng.integers(0, CLASSES, len(of))
    scales = len(NOISE)
    scores = rng.normal(size=(len(of), CLASSES, scales)) * NOISE + 0.8 * rng.normal(size=(groups, CLASSES, scales))[of]
    clear = np.exp(0.48 * rng.normal(size=(groups, 1)) + 0.15 * rng.normal(size=(groups, scales)))
    scores[np.arange(len(of)), label] += (SIGNAL * clear)[of]
    return scores, label, of


def figures(groups: int, alpha: float, seed: int, every: int | None) -> tuple[float, float]:
    """The part of all passes that is scored, and the mean over new groups of the share of right predictions dropped."""
    rng = np.random.default_rng(seed)
    (known, label, of), (new, new_label, new_of) = drawn(rng, groups, IMAGES), drawn(rng, 200, 20)
    best, new_best = known.sum(-1).argmax(1), new.sum(-1).argmax(1)
    adaptive.SHAPE_EVERY["group"] = every or 2
    thresholds = calibrate(known, best, best == label, alpha, of if every else None)
    right = new_best == new_label
    dropped, own = (class_behind(new, new_best) > thresholds).any(axis=1)[right], new_of[right]
    scored = simulate(new, np.zeros((0, *new.shape[:2])), thresholds).steps
    sums, sizes = by_group(dropped, own)
    return scored.mean() / new.shape[2], float((sums / sizes).mean())


def main() -> None:
    ways = {**{f"1 / {every}": every for every in SHARES}, "images": None}
    print("| groups | alpha |" + "".join(f" {name}: scored / risk |" for name in ways))
    print("| --- |" + " --- |" * (1 + len(ways)))
    for groups, alpha in CASES:
        cells = []
        for every in ways.values():
            scored, risk = np.mean([figures(groups, alpha, seed, every) for seed in range(REPETITIONS)], axis=0)
            cells.append(f" {scored:.3f} / {risk:.2%} |")
        print(f"| {groups} | {alpha:.0%} |" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
