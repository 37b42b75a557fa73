"""How the log-likelihoods of several samples of an image, or of several orders of its tokens, become one score."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def combined(samples: Sequence[Floats], how: str = "mean") -> NDArray[np.float64]:
    """Scores (N, M) from the log-likelihoods (N, M) of T samples: how is one of

    - mean: of the log-likelihoods;
    - softmax: the logarithm of the mean of their softmaxes over the M candidates;
    - logsumexp: the logarithm of the mean likelihood.

    All in logarithms, so that no probability becomes 0.
    """
    if how == "mean":
        return np.mean(samples, axis=0)
    stacked = np.asarray(samples, np.float64)  # (T, N, M)
    if how == "softmax":
        stacked = stacked - np.logaddexp.reduce(stacked, axis=2, keepdims=True)
    return np.logaddexp.reduce(stacked, axis=0) - np.log(len(stacked))
