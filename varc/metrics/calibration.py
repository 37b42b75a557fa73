"""Are the probabilities right? Temperature scaling of log-likelihoods, on calibration images."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

BINS = 15
Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def negative_log_likelihood(scores: Floats, label_index: Ints, temperature: float = 1.0) -> float:
    """Mean -log p(label) in nats, of a softmax of scores (N, M) over classes at a temperature."""
    log_p = log_softmax(scores / temperature, axis=1)
    return float(-np.take_along_axis(log_p, label_index[:, None], 1).mean())


def fit_temperature(scores: Floats, label_index: Ints) -> float:
    """The temperature with the smallest negative log-likelihood (Guo et al. 2017), between 1e-3 and 1e4."""
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(scores, label_index, np.exp(log_t)),
        bounds=(np.log(1e-3), np.log(1e4)),
        method="bounded",
    )
    return float(np.exp(found.x))


def reliability(scores: Floats, label_index: Ints, temperature: float = 1.0) -> tuple[Floats, Floats, Ints]:
    """Mean confidence, accuracy and count per bin of equal width over confidence; bins without images are left out."""
    log_p = log_softmax(scores / temperature, axis=1)
    confidence = np.exp(log_p.max(axis=1))
    right = log_p.argmax(axis=1) == label_index
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(which, minlength=BINS)
    used = count > 0
    mean = np.bincount(which, confidence, BINS)[used] / count[used]
    accuracy = np.bincount(which, right, BINS)[used] / count[used]
    return mean, accuracy, count[used]


def expected_calibration_error(scores: Floats, label_index: Ints, temperature: float = 1.0) -> float:
    """Mean distance of confidence and accuracy over 15 bins of equal width, weighted by their images."""
    mean, accuracy, count = reliability(scores, label_index, temperature)
    return float((np.abs(mean - accuracy) * count).sum() / count.sum())
