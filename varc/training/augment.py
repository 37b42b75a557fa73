"""Small random affine changes of training images, and tokens of images so changed."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from varc.data.tensors import to_input
from varc.models.vqvae import VQVAE
from varc.seeded import image_generator

NUMBERS = 4  # that a change is made of: across, down, scale, angle
AT_ONCE = 256  # images that are encoded at a time


class Augment(NamedTuple):
    """How far an image is changed at most, each uniformly and either way."""

    translate: float = 0.0  # pixels, across and down
    scale: float = 0.0  # fraction: larger or smaller by a factor of up to 1 + scale
    rotate: float = 0.0  # degrees

    @classmethod
    def of(cls, settings: dict[str, Any] | None) -> "Augment | None":
        """That of an `augment:` entry, which may say more."""
        if settings is None:
            return None
        return cls(**{key: settings[key] for key in cls._fields if key in settings})


def affine(drawn: Tensor, augment: Augment, side: int) -> Tensor:
    """Where each pixel of a changed image comes from, as affine_grid takes it (N, 2, 3), for square images.

    drawn: (N, 4) in [-1, 1]: shifts to the right and down, log of the factor, and turn to the right, each as a share
    of the most. Images are scaled and turned about their centre, then shifted.
    """
    shift = drawn[:, :2] * (2 * augment.translate / side)  # affine_grid measures a side as 2
    factor = (1 + augment.scale) ** drawn[:, 2]
    angle = drawn[:, 3] * math.radians(augment.rotate)
    cos, sin = angle.cos() / factor, angle.sin() / factor
    matrix = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)  # (N, 2, 2)
    return torch.cat([matrix, -matrix @ shift[:, :, None]], dim=2)


def changed(images: Tensor, drawn: Tensor, augment: Augment) -> Tensor:
    """Images (N, C, side, side), each changed by its row of drawn (N, 4), see affine.

    Bilinear; beyond the edge lies what is at the edge (replicate padding).
    """
    theta = affine(drawn, augment, images.shape[-1]).to(images)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def drawn_for(image_ids: Sequence[str], copy: int, seed: int) -> Tensor:
    """What changes a copy (0, 1, ...) of each image, (N, 4) in [-1, 1]: drawn per (seed, image_id, copy)."""
    drawn = [image_generator(seed, f"augment {copy}", image_id).uniform(-1, 1, NUMBERS) for image_id in image_ids]
    return torch.from_numpy(np.array(drawn, np.float32))


@torch.inference_mode()
def augmented_tokens(
    vqvae: VQVAE,
    images: NDArray[np.uint8],
    image_ids: Sequence[str],
    augment: Augment,
    *,
    copies: int,
    seed: int,
    device: torch.device,
    batch_size: int = AT_ONCE,
) -> NDArray[np.uint16]:
    """Tokens (copies, N, L), coarse to fine, of changed copies of images (N, side, side, 3), without noise.

    They depend on batch size and order by float rounding only.
    """
    found = []
    for copy in range(copies):
        for first in range(0, len(images), batch_size):
            part = slice(first, first + batch_size)
            x = changed(to_input(images[part]).to(device), drawn_for(image_ids[part], copy, seed).to(device), augment)
            found.append(vqvae.quantize.quantize(vqvae.features(x)).cpu().numpy().astype(np.uint16))
    return np.concatenate(found).reshape(copies, len(images), -1)
