"""Class-incremental learning by a convolutional network.

Strategies: none (train on), cwr (CWR*: Lomonaco et al. 2020) and joint (all images so far at once, the upper bound).
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.baselines.convnet import ConvNet, ConvNetConfig, convnet, train_convnet

CONVNET_LR = 2e-3
CWR_HEAD_LR = 0.1  # of 0.002, 0.01, 0.03, 0.1 the best on the digits' validation split


def consolidate(net: ConvNet, head: Tensor, bias: Tensor, classes: Sequence[int]) -> None:
    """CWR*'s copy: a task's head rows, less their mean, into the consolidated head (classes, features), in place.

    Every class comes in one task only, so there is no weighting with what was learned before.
    """
    with torch.no_grad():
        own, own_bias = net.head.weight[list(classes)], net.head.bias[list(classes)]
        head[list(classes)] = own - own.mean(0)
        bias[list(classes)] = own_bias - own_bias.mean()


def learn_convnet(
    strategy: str,
    tasks: Sequence[Sequence[int]],
    images: Tensor,
    labels: NDArray[np.int64],
    steps_of: Callable[[int], int],
    seed: int,
) -> Iterator[ConvNet]:
    """Learns images (N, 3, H, W) task by task; yields the network after each, on the device of the images.

    steps_of(images): how many steps so many images get.
    """
    size = 1 + max(c for task in tasks for c in task)
    net = convnet(ConvNetConfig(images.shape[-1], size), seed).to(images.device)
    head, bias = torch.zeros_like(net.head.weight), torch.zeros_like(net.head.bias)  # CWR*'s consolidated ones
    seen: list[int] = []
    for i, task in enumerate(tasks):
        seen = sorted([*seen, *task])
        if strategy == "joint":
            net = convnet(ConvNetConfig(images.shape[-1], size), seed).to(images.device)
        which = np.isin(labels, seen if strategy == "joint" else task)
        trained, lr = list(net.parameters()), CONVNET_LR
        if strategy == "cwr":
            nn.init.zeros_(net.head.weight)
            nn.init.zeros_(net.head.bias)
            if i > 0:
                trained, lr = list(net.head.parameters()), CWR_HEAD_LR
        among = sorted(task) if strategy == "cwr" else seen
        steps = steps_of(int(which.sum()))
        train_convnet(net, trained, images[torch.from_numpy(which)], labels[which], among, steps, lr, seed + i)
        if strategy == "cwr":
            consolidate(net, head, bias, task)
            result = copy.deepcopy(net)
            result.head.load_state_dict({"weight": head, "bias": bias})
            yield result
        else:
            yield net
