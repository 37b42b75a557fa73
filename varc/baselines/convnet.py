"""A small convolutional network: the discriminative baseline on small images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Two convolutions and a hidden layer before a linear head: (B, 3, H, W) in [-1, 1] to logits (B, classes)."""

    def __init__(self, image_size: int, classes: int, width: int = 32, features: int = 128):
        super().__init__()
        side = image_size // 4
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.hidden = nn.Linear(2 * width * side * side, features)
        self.head = nn.Linear(features, classes)

    def features(self, images: Tensor) -> Tensor:
        """What the head sees: (B, features)."""
        h = F.max_pool2d(F.relu(self.conv1(images)), 2)
        h = F.max_pool2d(F.relu(self.conv2(h)), 2)
        return F.relu(self.hidden(h.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def convnet(image_size: int, classes: int, seed: int) -> ConvNet:
    """A network with random weights, seeded."""
    torch.manual_seed(seed)
    return ConvNet(image_size, classes)
