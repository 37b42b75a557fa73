"""Features, and tokens of features with seeded noise (likelihood smoothing)."""

import functools
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.data.preprocess import pixels_sha256
from varc.data.tensors import to_input
from varc.errors import InputError
from varc.keep import Keep, at_once
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.vqvae import VQVAE
from varc.prefetch import ahead
from varc.seeded import image_generator

Encoded = tuple[NDArray[np.float32], NDArray[np.uint8]]  # features of a batch, and the SHA-256 of its pixels


def encode(vqvae: VQVAE, images: NDArray[np.uint8], batch_size: int, device: torch.device) -> Tensor:
    """Features f (N, C, p_K, p_K), float32 on the CPU, of images (N, H, W, 3): quant_conv(encoder(x))."""
    batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return encode_batches(vqvae, batches, device)[0]


@torch.inference_mode()
def encode_batches(
    vqvae: VQVAE,
    batches: Iterable[NDArray[np.uint8]],
    device: torch.device,
    known: Sequence[Encoded] = (),
    keep: Keep = at_once,
) -> tuple[Tensor, list[str]]:
    """The features of encode, of images that come in batches (B, H, W, 3), each a piece for `keep`; and the SHA-256 of
    each image's pixels, by which it is known again.

    known: those of earlier batches, which come first.
    """

    def encoded(batch: NDArray[np.uint8]) -> Encoded:
        return vqvae.features(to_input(batch).to(device)).cpu().numpy(), pixels_sha256(batch)

    found = [*known, *(keep(functools.partial(encoded, batch)) for batch in batches)]
    features, digests = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return torch.from_numpy(features), [digest.tobytes().hex() for digest in digests]


def noise(image_ids: Sequence[str], sample: int, seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise (N, *shape), float32, of one sample (1, 2, ...) of each image.

    Drawn per (image_id, sample, seed), so it is the same for any shard, batch size, order or machine.
    """
    drawn = np.empty((len(image_ids), *shape), np.float32)
    for i, image_id in enumerate(image_ids):
        drawn[i] = image_generator(seed, sample, image_id).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(drawn)


@torch.inference_mode()
def tokenize(
    quantizer: MultiScaleQuantizer,
    features: Tensor,
    image_ids: Sequence[str],
    *,
    sample: int,
    sigma: float,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> NDArray[np.uint16]:
    """Tokens (N, L), coarse to fine, of one sample of the images with features (N, C, p_K, p_K).

    Sample 0 is clean; the others add Gaussian noise of standard deviation sigma to f before it is quantised
    (likelihood smoothing, section 4 of the A-VARC+ paper).
    """
    with closing(sampled(features, image_ids, sample, sigma, seed, batch_size)) as batches:
        found = [quantizer.quantize(f.to(device)).cpu().numpy().astype(np.uint16) for f in batches]
    return np.concatenate(found)


def sampled(
    features: Tensor, image_ids: Sequence[str], sample: int, sigma: float, seed: int, batch_size: int
) -> Generator[Tensor, None, None]:
    """One sample of features (N, C, p_K, p_K), in batches; a thread draws the noise of the next one meanwhile."""
    batches = features.split(batch_size)
    if sample == 0:
        yield from batches
        return

    def drawn(first: int) -> Tensor:
        return noise(image_ids[first : first + batch_size], sample, seed, features.shape[1:])

    with closing(ahead(drawn, range(0, len(features), batch_size), threads=1, depth=1)) as noises:
        for f, added in zip(batches, noises, strict=True):
            yield f + sigma * added


def clean_tokens(vqvae: VQVAE, images: NDArray[np.uint8], batch_size: int, device: torch.device) -> NDArray[np.uint16]:
    """Tokens (N, L), coarse to fine, of images (N, H, W, 3), without noise."""
    features = encode(vqvae, images, batch_size, device)
    ids = [""] * len(images)  # only noise asks for them
    return tokenize(vqvae.quantize, features, ids, sample=0, sigma=0.0, seed=0, batch_size=batch_size, device=device)


def absolute_sigma(sigma: float | dict[str, float], feature_std: float | None) -> float:
    """sigma itself, or {spread: s} as s times the standard deviation of f over the training images.

    Raises InputError where the model's card does not say feature_std.
    """
    if isinstance(sigma, dict):
        if feature_std is None:
            raise InputError(
                "sigma: {spread: ...} needs feature_std in the VQ-VAE's card, which is absent; give a number"
            )
        return sigma["spread"] * feature_std
    return sigma
