"""Condition contrastive alignment (CCA; Chen et al., arXiv 2410.09347), as the A-VARC+ paper uses it.

A model theta is tuned against its frozen start, the reference: the label's log-likelihood should rise over the
reference's, that of another image's label should fall.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

LABEL_DROPOUT = 0.1
CACHE_NUMBERS = 2**28  # 2 GB


def cca_loss(gap: Tensor, negative_gap: Tensor, contrast: Tensor, beta: float, lambda_: float) -> Tensor:
    """The loss, a mean over the images.

    gap, negative_gap (B,): log p_theta - log p_reference, in nats per image, under the label and under the negative
    label. contrast (B,): whether the negative label is one: where it is the label itself, or was dropped, the second
    term is a positive of weight 1.

        (-logsigmoid(beta gap) - lambda logsigmoid(-beta negative_gap)) / max(lambda, 1)
    """
    positive = -F.logsigmoid(beta * gap)
    negative = torch.where(contrast, -lambda_ * F.logsigmoid(-beta * negative_gap), -F.logsigmoid(beta * negative_gap))
    return ((positive + negative) / max(lambda_, 1.0)).mean()


def draw_labels(
    labels: NDArray[np.int64], unconditional: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Labels, negative labels and `contrast` (each (B,)) of a batch with the true labels (B,).

    The negatives are the batch's labels rolled by one; both labels of an image are dropped together, to the
    unconditional class, with probability 0.1.
    """
    negative = np.roll(labels, 1)
    dropped = rng.random(len(labels)) < LABEL_DROPOUT
    contrast = (negative != labels) & ~dropped
    return np.where(dropped, unconditional, labels), np.where(dropped, unconditional, negative), contrast


def reference_log_likelihood(
    cache: Tensor | None, keys: tuple[Tensor, ...], compute: Callable[[Tensor], Tensor]
) -> Tensor:
    """log p_reference (B,), float64, of the keys (sample, image, label), each (B,).

    The cache holds what is known, NaN elsewhere, and learns what was not. compute(missing) gives the values where
    the mask `missing` (B,) holds.
    """
    if cache is None:
        return compute(torch.ones(len(keys[0]), dtype=torch.bool))
    missing = cache[keys].isnan()
    if missing.any():
        cache[tuple(key[missing] for key in keys)] = compute(missing).to(cache)
    return cache[keys]


def empty_cache(samples: int, images: int, labels: int) -> Tensor | None:
    """A cache for all keys; None where it would take over CACHE_NUMBERS: such a data set is not seen many times."""
    if samples * images * labels > CACHE_NUMBERS:
        return None
    return torch.full((samples, images, labels), torch.nan, dtype=torch.float64)
