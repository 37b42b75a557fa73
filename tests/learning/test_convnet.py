import copy

import numpy as np
import pytest
import torch

from varc.baselines.convnet import ConvNetConfig, convnet, convnet_predictions
from varc.learning.convnet import consolidate, learn_convnet
from varc.learning.tasks import accuracies

TASKS = [[0, 3], [1, 2]]


def test_cwr_copies_head_rows_less_their_mean():
    net = convnet(ConvNetConfig(8, 4), 0)
    head, bias = torch.zeros(4, 128), torch.zeros(4)
    head[0] = 5.0
    consolidate(net, head, bias, [1, 3])
    mean = (net.head.weight[1] + net.head.weight[3]) / 2
    assert torch.allclose(head[1], net.head.weight[1] - mean) and torch.allclose(head[3], net.head.weight[3] - mean)
    assert bias[1] == pytest.approx(-bias[3].item()) and (head[0] == 5).all() and (head[2] == 0).all()


def stripes():
    """Images of four classes: bright in one quarter each."""
    torch.manual_seed(0)
    labels = np.arange(80) % 4
    images = torch.rand(80, 3, 8, 8) - 1
    for i, y in enumerate(labels):
        images[i, :, 4 * (y // 2) : 4 * (y // 2) + 4, 4 * (y % 2) : 4 * (y % 2) + 4] += 1
    return images, labels


def test_none_forgets_joint_does_not_and_cwr_freezes_its_features():
    images, labels = stripes()

    def after_both(strategy):
        states = [copy.deepcopy(s) for s in learn_convnet(strategy, TASKS, images, labels, lambda n: 60, seed=0)]

        def predict(net, which, classes):
            return convnet_predictions(net, images[torch.from_numpy(which)], classes)

        return *states, accuracies(states, TASKS, labels, predict, lambda line: None)["accuracy"]

    assert after_both("joint")[2] == [1.0, 1.0, 1.0]
    _, _, found = after_both("none")
    assert found[0] == 1.0 and found[1] < 0.5 and found[2] == 1.0
    first, second, _ = after_both("cwr")
    assert torch.equal(first.hidden.weight, second.hidden.weight)
    assert torch.equal(first.head.weight[[0, 3]], second.head.weight[[0, 3]])
