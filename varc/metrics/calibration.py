"""Are the probabilities right? Temperature scaling of log-likelihoods, on calibration images.

Scores (N, M) are of all classes; labels (N,) are those of the images, class_labels (M,) what each class stands for. The
probability of a label is the sum over the classes that stand for it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from varc.groups import Groups
from varc.metrics.intervals import share_interval

BINS = 15
Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def log_probability(scores: Floats, labels: Ints, class_labels: Ints, temperature: float = 1.0) -> Floats:
    """log p (N,) in nats of a label for each image, by a softmax of scores over classes at a temperature."""
    own = class_labels[None] == labels[:, None]
    return logsumexp(np.where(own, log_softmax(scores / temperature, axis=1), -np.inf), axis=1)


def negative_log_likelihood(scores: Floats, labels: Ints, class_labels: Ints, temperature: float = 1.0) -> float:
    """Mean -log p(label) in nats."""
    return float(-log_probability(scores, labels, class_labels, temperature).mean())


def fit_temperature(scores: Floats, labels: Ints, class_labels: Ints) -> float:
    """The temperature with the smallest negative log-likelihood (Guo et al. 2017), between 1e-3 and 1e4."""
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(scores, labels, class_labels, np.exp(log_t)),
        bounds=(np.log(1e-3), np.log(1e4)),
        method="bounded",
    )
    return float(np.exp(found.x))


class Reliability(NamedTuple):
    """Bins of equal width over confidence (B,), those without images left out."""

    confidence: Floats  # mean of the bin's images
    accuracy: Floats
    low: Floats  # of the accuracy's 95 % interval over images or groups, see share_interval
    high: Floats
    images: Ints


def reliability(
    scores: Floats, labels: Ints, class_labels: Ints, temperature: float = 1.0, groups: Groups = None
) -> Reliability:
    """How often what is said with a confidence is right. Confidence is the probability of the label that the best class
    stands for."""
    predicted = class_labels[scores.argmax(axis=1)]
    confidence = np.exp(log_probability(scores, predicted, class_labels, temperature))
    right = predicted == labels
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    used, images = np.unique(which, return_counts=True)
    inside = [which == i for i in used]
    ends = [share_interval(right[i], None if groups is None else groups[i]) for i in inside]
    low, high = np.array(ends, float).reshape(-1, 2).T
    mean, accuracy = (np.array([values[i].mean() for i in inside]) for values in (confidence, right))
    return Reliability(mean, accuracy, low, high, images)


def expected_calibration_error(scores: Floats, labels: Ints, class_labels: Ints, temperature: float = 1.0) -> float:
    """Mean distance of confidence and accuracy over 15 bins of equal width, weighted by their images."""
    bins = reliability(scores, labels, class_labels, temperature)
    return float((np.abs(bins.confidence - bins.accuracy) * bins.images).sum() / bins.images.sum())
