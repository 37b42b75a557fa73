"""Pixels as a model's input, and back; apart from varc.data.preprocess, since jobs that list and check pictures need no
torch, which takes seconds to import."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """uint8 images (N, H, W, 3) as float32 (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images.astype(np.float32) / 255 * 2 - 1).permute(0, 3, 1, 2).contiguous()


def to_pixels(images: Tensor) -> Tensor:
    """float images (N, 3, H, W) in [-1, 1] as uint8 (N, H, W, 3) on the CPU; the inverse of to_input."""
    return ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()
