"""Random numbers that depend on an image's name and a purpose alone."""

import hashlib
from collections.abc import Sequence

import numpy as np


def image_generator(seed: int, purpose: int | str, image_id: str) -> np.random.Generator:
    """Random numbers per (image_id, purpose, seed): the same for any shard, batch size, order or machine."""
    key = hashlib.sha256(f"{seed}\0{purpose}\0{image_id}".encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(key[:16], "little")))


def order_by_hash(image_ids: Sequence[str], seed: int, purpose: str) -> list[int]:
    """The positions of images in the order of a hash of (seed, purpose, image_id)."""
    digests = [hashlib.sha256(f"{seed}\0{purpose}\0{image_id}".encode()).digest() for image_id in image_ids]
    return sorted(range(len(digests)), key=digests.__getitem__)


def first_by_hash(image_ids: Sequence[str], images: int | None, seed: int, purpose: str) -> list[int]:
    """The positions, rising, of the first so many images in the order of order_by_hash; None: of all."""
    return sorted(order_by_hash(image_ids, seed, purpose)[:images])
