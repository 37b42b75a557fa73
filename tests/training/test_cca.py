import math

import numpy as np
import pytest
import torch

from varc.training import cca
from varc.training.cca import cca_loss, draw_labels, empty_cache, reference_log_likelihood


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


def test_the_loss_by_hand():
    gap, negative_gap = torch.tensor([3.0, -1.0, 0.5]), torch.tensor([2.0, -4.0, 0.5])
    contrast = torch.tensor([True, True, False])
    found = cca_loss(gap, negative_gap, contrast, 0.1, 5.0)
    expected = [
        (-log_sigmoid(0.3) - 5 * log_sigmoid(-0.2)) / 5,
        (-log_sigmoid(-0.1) - 5 * log_sigmoid(0.4)) / 5,
        (-log_sigmoid(0.05) - log_sigmoid(0.05)) / 5,  # the second term is a positive of weight 1
    ]
    assert found.item() == pytest.approx(sum(expected) / 3, rel=1e-6)


def test_a_small_lambda_does_not_divide():
    gap, negative_gap, contrast = torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([True])
    found = cca_loss(gap, negative_gap, contrast, 1.0, 0.5)
    assert found.item() == pytest.approx(-log_sigmoid(2.0) - 0.5 * log_sigmoid(-1.0), rel=1e-6)


def test_lambda_0_maximises_the_first_term_alone():
    gap = torch.tensor([2.0, -1.0], requires_grad=True)
    negative_gap = torch.tensor([1.0, 7.0], requires_grad=True)
    loss = cca_loss(gap, negative_gap, torch.tensor([True, True]), 0.3, 0.0)
    loss.backward()
    alone = (-torch.nn.functional.logsigmoid(0.3 * gap)).mean()
    assert loss.item() == pytest.approx(alone.item())
    assert negative_gap.grad.tolist() == [0.0, 0.0]
    assert torch.allclose(gap.grad, torch.autograd.grad(alone, gap)[0])


def test_gradients_are_finite_differences():
    gap = torch.tensor([2.0, -1.0, 30.0], dtype=torch.float64, requires_grad=True)
    negative_gap = torch.tensor([1.0, 7.0, -3.0], dtype=torch.float64, requires_grad=True)
    contrast = torch.tensor([True, False, True])
    assert torch.autograd.gradcheck(lambda a, b: cca_loss(a, b, contrast, 0.2, 4.0), (gap, negative_gap))


def test_negative_labels_are_rolled_and_both_labels_are_dropped_together():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 20_000)
    y, negative, contrast = draw_labels(labels, 3, rng)
    dropped = y == 3
    assert (dropped == (negative == 3)).all()
    assert dropped.mean() == pytest.approx(0.1, abs=0.01)
    assert (y[~dropped] == labels[~dropped]).all()
    assert (negative[~dropped] == np.roll(labels, 1)[~dropped]).all()
    assert (contrast == (~dropped & (np.roll(labels, 1) != labels))).all()


def test_the_reference_is_computed_once_for_each_key(monkeypatch):
    asked = []

    def compute(missing):
        asked.append(missing.tolist())
        return torch.arange(len(missing), dtype=torch.float64)[missing] + 10 * len(asked)

    keys = tuple(torch.tensor(k) for k in ([0, 1, 0], [5, 5, 6], [2, 2, 2]))
    cache = empty_cache(2, 7, 3)
    assert reference_log_likelihood(cache, keys, compute).tolist() == [10.0, 11.0, 12.0]
    more = tuple(torch.tensor(k) for k in ([0, 0], [5, 5], [2, 1]))
    assert reference_log_likelihood(cache, more, compute).tolist() == [10.0, 21.0]
    assert asked == [[True, True, True], [False, True]]
    monkeypatch.setattr(cca, "CACHE_NUMBERS", 41)
    assert empty_cache(2, 7, 3) is None
    assert reference_log_likelihood(None, more, compute).tolist() == [30.0, 31.0]
