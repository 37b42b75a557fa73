"""Weights of the scales: how much each scale's log-likelihood counts in a classifier's scores.

VARC's score of a class is the sum of l_k over the scales k, each of which counts the same. A weighted score is the sum
of w_k l_k, w_k >= 0, with weights that make the labels of a validation set most likely under the softmax over classes:
multinomial logistic regression on the l_k without intercepts, as a product of experts is weighted (Hinton 2002).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from varc.errors import InputError
from varc.freshness import MODEL_KEYS, check_value, models_of
from varc.seal import read_json
from varc.storage import scales_in

Floats = NDArray[np.float64]
AT_ONCE = 2**24  # numbers of scores that are weighted at a time
CONVERGED = 1e-5  # of the projected gradient, where a scale's log-likelihoods have a spread of 1
CERTAIN = 1e-6  # nats: where labels are so likely, larger weights make them likelier without end


class Fitted(NamedTuple):
    """Weights, and what they bring on the images that they are fitted on: mean -log p(label), in nats."""

    weights: Floats  # (K,)
    nll_equal: float  # all weights 1
    nll_temperature: float  # all weights the same, the best one
    nll: float


def fit_scale_weights(per_scale: Floats, own: NDArray[np.bool_]) -> Fitted:
    """The weights (K,) >= 0 that minimise the mean over images of -log p(label), p the softmax over classes of the
    weighted scores; by L-BFGS-B. Where one class stands for each label that is convex, and there is one minimum.

    per_scale (N, M, K): log-likelihoods of all classes; own (N, M): which of them stand for the label. A scale at which
    all classes have the same ones gets 0. Raises InputError where no scale tells the classes apart, and where the
    labels have no doubt about them, so that larger weights are always better.
    """
    per_scale = per_scale - per_scale[:, :1]  # what all classes have alike changes nothing, but for rounding
    told = np.ptp(per_scale, axis=1).any(axis=0)
    weights = np.zeros(len(told))
    if told.any():
        (equal,), nll_temperature = minimum(per_scale.sum(-1, keepdims=True), own)
        weights[told], nll = minimum(per_scale[..., told], own, equal)
    if not weights.any():
        raise InputError("no scale tells the classes apart; take scale_weights away")
    if nll < CERTAIN:
        raise InputError(
            "scale_weights: fit has too few images: whatever the weights, every label is certain; add some"
        )
    return Fitted(weights, loss(np.ones(len(told)), per_scale, own)[0], nll_temperature, nll)


def minimum(per_scale: Floats, own: NDArray[np.bool_], start: float = 0.0) -> tuple[Floats, float]:
    """The weights (K,) with the smallest loss, found from equal ones, and that loss. Raises InputError where none is
    found."""
    spread = np.sqrt((np.ptp(per_scale, axis=1) ** 2).mean(axis=0)) + np.finfo(float).tiny

    def scaled(weights: Floats) -> tuple[float, Floats]:
        value, gradient = loss(weights / spread, per_scale, own)
        return value, gradient / spread

    bounds = [(0.0, None)] * len(spread)
    options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 0.0, "gtol": 1e-9, "maxls": 50, "maxcor": 30}
    found = minimize(scaled, start * spread + 0.01, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    value, gradient = scaled(found.x)
    left = np.where(found.x > 0, np.abs(gradient), np.maximum(-gradient, 0.0)).max()
    if left > CONVERGED:
        raise InputError(f"scale_weights: no minimum is found: the gradient is {left:.2g} still; fit on other images")
    return found.x / spread, value


def loss(weights: Floats, per_scale: Floats, own: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Mean -log p(label) in nats under weights (K,), and its gradient (K,); see fit_scale_weights."""
    value, gradient = 0.0, np.zeros(len(weights))
    step = max(1, AT_ONCE // per_scale[0].size)
    for first in range(0, len(per_scale), step):
        some, labels = per_scale[first : first + step], own[first : first + step]
        log_p = log_softmax(some @ weights, axis=1)
        of_label = np.where(labels, log_p, -np.inf)
        label = logsumexp(of_label, axis=1, keepdims=True)
        value -= float(label.sum())
        gradient += np.einsum("nm,nmk->k", np.exp(log_p) - np.exp(of_label - label), some)
    return value / len(per_scale), gradient / len(per_scale)


def prefix_weights(weights: Floats, scales: int) -> Floats:
    """The weights (scales,) of a stage at the first scales: those of all, times what makes their mean 1, so that equal
    ones give plain scores. Raises InputError where all are 0, so that such a stage tells nothing."""
    first = weights[:scales]
    if not first.any():
        raise InputError(f"the first {scales} scales have weight 0; give the stage more scales, or no scale_weights")
    first = first / first.max()
    return first / first.mean()


def read_scale_weights(path: Any, made_with: Mapping[str, str], scales: int) -> Floats | None:
    """The prefix_weights of a file that says what fit_scale_weights found; None where there is no file, an empty list.

    made_with: SHA-256 of the models whose scores are weighted. Raises InputError where the weights are others'.
    """
    if not path:
        return None
    found = read_json(path)
    for key in MODEL_KEYS:
        check_value(path, key, found, made_with.get(key), "the scores")
    try:
        return prefix_weights(np.array(found["weights"]), scales)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_labelled_weights(path: Any, scores: Sequence[str | Path]) -> Floats | None:
    """What read_scale_weights says for all scales of files of scores."""
    return read_scale_weights(path, models_of(scores[0]), scales_in(scores[0])) if path else None
