"""The pixels that a model of grey or colour images takes."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from varc.data.tensors import to_input


def planes(images: NDArray[np.uint8], channels: int) -> Tensor:
    """Images (N, H, W, 3) as float32 (N, channels, H, W) in [-1, 1]; one channel is the mean of the three."""
    return to_input(images.mean(3, dtype=np.float32, keepdims=True) if channels == 1 else images)
