import math

import numpy as np
import pytest
import torch

from varc.errors import InputError
from varc.training.discriminative import check_negatives, discriminative_loss, draw_others, labels_of


def test_the_loss_by_hand():
    log_prob = torch.tensor([[-10.0, -40.0], [-12.0, -30.0], [-20.0, -41.0]], dtype=torch.float64)
    found = discriminative_loss(log_prob, 5, 0.2, 0.3)
    first = math.log(1 + math.exp(-0.4) + math.exp(-2.0))
    second = math.log(1 + math.exp(2.0) + math.exp(-0.2))
    assert found["classification"].item() == pytest.approx((first + second) / 2)
    assert found["nats_per_token"].item() == pytest.approx(25 / 5)
    assert found["loss"].item() == pytest.approx((first + second) / 2 + 0.3 * 5)


def test_the_gradient_is_beta_times_posterior_minus_label():
    log_prob = torch.tensor([[-10.0, -40.0], [-12.0, -30.0]], dtype=torch.float64, requires_grad=True)
    discriminative_loss(log_prob, 5, 0.2, 0.3)["loss"].backward()
    other = torch.sigmoid(0.2 * (log_prob[1] - log_prob[0])).detach()  # the posterior of the other class
    assert torch.allclose(log_prob.grad[1], 0.2 * other / 2)
    assert torch.allclose(log_prob.grad[0], -0.2 * other / 2 - 0.3 / 5 / 2)


def test_likelihoods_that_are_all_tiny_lose_nothing():
    log_prob = torch.tensor([[-1e5], [-1e5 - 3]], dtype=torch.float64)
    assert discriminative_loss(log_prob, 1, 1.0, 0.0)["loss"].item() == pytest.approx(math.log1p(math.exp(-3)))


def test_others_are_drawn_evenly_without_replacement_and_never_the_label():
    classes, rng = np.array([1, 4, 5, 9]), np.random.default_rng(0)
    labels = classes[rng.integers(0, 4, 6000)]
    others = draw_others(labels, classes, 2, rng)
    assert (others != labels[:, None]).all() and (others[:, 0] != others[:, 1]).all()
    for label in classes:
        of_label = others[labels == label]
        for other in set(classes) - {label}:
            assert (of_label == other).any(1).mean() == pytest.approx(2 / 3, abs=0.05)


def test_labels_come_first_and_then_one_other_of_each_image_at_a_time():
    found = labels_of(np.array([7, 8]), np.array([[1, 2, 3], [4, 5, 6]]))
    assert found.view(4, 2).tolist() == [[7, 8], [1, 4], [2, 5], [3, 6]]


def test_as_many_negatives_as_classes_are_refused_by_the_name_of_the_key():
    check_negatives(9, 10)
    with pytest.raises(InputError, match="negatives: 10, but of the images' 10 classes 9 are others"):
        check_negatives(10, 10)
