"""Maps by other means: LIME, KernelSHAP, occlusion and GradientSHAP through captum, and controls without a model.

Each explains the images by the square patches of a grid, on which the map has one value. A masked patch shows the
blurred image.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import FeatureAblation, GradientShap, KernelShap, Lime
from numpy.typing import NDArray
from scipy.ndimage import sobel
from torch import Tensor, nn

from varc.data.tensors import to_input
from varc.explain.faithfulness import Pixels, substrate
from varc.seeded import image_generator

Floats = NDArray[np.float32]
Score = Callable[[Pixels], NDArray[np.float64]]  # (B, H, W, 3) -> (B,), what is explained

PERTURBED = {"lime": Lime, "kernel_shap": KernelShap}  # methods with a budget of masked images
BATCH = 50  # masked images at a time
CENTRE_SHARE = 0.25  # of the grid's side: the standard deviation of the centred Gaussian


def masked_images(method: str, grid: int, budget: int) -> int:
    """How many images a method asks the score about; the image itself counts."""
    return grid * grid + 1 if method == "occlusion" else budget


def attribute(method: str, image: Pixels, score: Score, grid: int, budget: int, image_id: str, seed: int) -> Floats:
    """A map (grid, grid) of an image by occlusion or a method of PERTURBED; these draw by (image_id, seed).

    budget: how many masked images LIME and KernelSHAP look at. Lasso and kernel of LIME are captum's defaults.
    """

    def forward(images: Tensor) -> Tensor:
        return torch.from_numpy(score(images.round().byte().permute(0, 2, 3, 1).numpy()))

    pixels, ground = (torch.tensor(x).permute(2, 0, 1)[None].float() for x in (image, substrate(image, "blur")))
    patches = patch_numbers(grid, len(image))[None, None]
    options = {"baselines": ground, "feature_mask": patches, "perturbations_per_eval": BATCH}
    with draws(int(image_generator(seed, method, image_id).integers(2**63))):
        if method in PERTURBED:
            found = PERTURBED[method](forward).attribute(pixels, n_samples=budget, **options)
        else:
            found = FeatureAblation(forward).attribute(pixels, **options)
    step = len(image) // grid
    return found[0, 0, ::step, ::step][:grid, :grid].numpy().astype(np.float32)


@contextmanager
def draws(seed: int) -> Iterator[None]:
    """For a block whose random numbers, torch's and NumPy's, depend on the seed alone; both go on as before after it.

    captum draws from NumPy's where GradientSHAP looks between the two images.
    """
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)


def patch_numbers(grid: int, side: int) -> Tensor:
    """The number of the patch (side, side) that each pixel is in, row by row. side must be a multiple of grid."""
    numbers = torch.arange(grid * grid).view(grid, grid)
    return numbers.repeat_interleave(side // grid, 0).repeat_interleave(side // grid, 1)


def gradient_shap(net: nn.Module, image: Pixels, class_id: int, grid: int, budget: int, seed: int) -> Floats:
    """A map (grid, grid) of a class's log-probability under a network with gradients: expected gradients between the
    blurred image and the image (Lundberg and Lee 2017), `budget` draws, summed over each patch."""

    def forward(images: Tensor) -> Tensor:
        return net(images).log_softmax(1)[:, class_id]

    device = next(net.parameters()).device
    pixels, ground = (to_input(x[None]).to(device) for x in (image, substrate(image, "blur")))
    with draws(seed):
        found = GradientShap(forward).attribute(pixels, baselines=ground, n_samples=budget)
    step = len(image) // grid
    return (F.avg_pool2d(found.sum(1, keepdim=True), step)[0, 0] * step**2).detach().cpu().numpy().astype(np.float32)


def control(method: str, image: Pixels, grid: int, image_id: str, seed: int) -> Floats:
    """A map (grid, grid) that knows nothing of a model: "random"; "centre", a Gaussian; "edge", the grey image's
    gradient by Sobel's filter; "ink", how far the grey image is from the mean of its border."""
    if method == "random":
        return image_generator(seed, method, image_id).random((grid, grid), dtype=np.float32)
    if method == "centre":
        offset = (np.arange(grid) - (grid - 1) / 2) / (CENTRE_SHARE * grid)
        return np.exp(-(offset[:, None] ** 2 + offset**2) / 2).astype(np.float32)
    grey = image.mean(2)
    if method == "ink":
        border = np.concatenate([grey[[0, -1]].ravel(), grey[1:-1, [0, -1]].ravel()])
        strength = np.abs(grey - border.mean())
    else:
        strength = np.hypot(sobel(grey, 0), sobel(grey, 1))
    step = len(image) // grid
    return strength[: grid * step, : grid * step].reshape(grid, step, grid, step).mean((1, 3)).astype(np.float32)
