"""A discriminative term for generative classifiers: the label against other classes, by the model's own likelihoods.

Fetaya et al. 2020, "Understanding the limitations of conditional generative models", who weigh it against the
likelihood itself.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.errors import InputError


def discriminative_loss(log_prob: Tensor, tokens: int, beta: float, gen: float) -> dict[str, Tensor]:
    """The loss and its two terms, means over the images.

    log_prob: log p(x|y) (1 + K, B), in nats per image of so many tokens, under the label and K other classes.

        classification = -log softmax(beta log p)[label]     nats_per_token = -log p(x|label) / tokens
        loss = classification + gen nats_per_token
    """
    classification = -(beta * log_prob).log_softmax(0)[0].mean()
    nats_per_token = -log_prob[0].mean() / tokens
    return {
        "loss": classification + gen * nats_per_token,
        "classification": classification.detach(),
        "nats_per_token": nats_per_token.detach(),
    }


def draw_others(
    labels: NDArray[np.int64], classes: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """So many classes (B, count) other than each label (B,), drawn from `classes` (C,) without replacement."""
    order = rng.random((len(labels), len(classes)))
    order[labels[:, None] == classes] = np.inf
    return classes[np.argsort(order, axis=1)[:, :count]]


def check_negatives(count: int, classes: int) -> None:
    """Raises InputError where there are fewer other classes than are to be drawn."""
    if count >= classes:
        raise InputError(
            f"negatives: {count}, but of the images' {classes} classes {classes - 1} are others than the label; "
            f"give at most so many"
        )


def labels_of(label: NDArray[np.int64], negative: NDArray[np.int64]) -> Tensor:
    """Labels (B,) and negatives (B, K) as the classes of ((1 + K) B,) sequences: first the labels, then K times one
    other of each image."""
    return torch.from_numpy(np.concatenate([label, negative.T.ravel()]))
