"""Are the probabilities right? Temperature scaling of log-likelihoods, on calibration images.

Scores (N, M) are of all classes; labels (N,) are those of the images, class_labels (M,) what each class stands for. The
probability of a label is the sum over the classes that stand for it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

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


def reliability(
    scores: Floats, labels: Ints, class_labels: Ints, temperature: float = 1.0
) -> tuple[Floats, Floats, Ints]:
    """Mean confidence, accuracy and count per bin of equal width over confidence; bins without images are left out.

    Confidence is the probability of the label that the best class stands for.
    """
    predicted = class_labels[scores.argmax(axis=1)]
    confidence = np.exp(log_probability(scores, predicted, class_labels, temperature))
    right = predicted == labels
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(which, minlength=BINS)
    used = count > 0
    mean = np.bincount(which, confidence, BINS)[used] / count[used]
    accuracy = np.bincount(which, right, BINS)[used] / count[used]
    return mean, accuracy, count[used]


def expected_calibration_error(scores: Floats, labels: Ints, class_labels: Ints, temperature: float = 1.0) -> float:
    """Mean distance of confidence and accuracy over 15 bins of equal width, weighted by their images."""
    mean, accuracy, count = reliability(scores, labels, class_labels, temperature)
    return float((np.abs(mean - accuracy) * count).sum() / count.sum())
