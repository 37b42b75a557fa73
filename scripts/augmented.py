"""Tokens of changed copies of the training images."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varc.data.manifest import load_images, rows
from varc.models.vqvae import VQVAE
from varc.storage import read_parquet
from varc.training.augment import Augment, augmented_tokens


def augmented(snakemake: Any, vqvae: VQVAE, device: Any, log: Any) -> NDArray[np.uint16]:
    """Tokens (copies, N, L) of changed copies of the images in the job's manifest, as `augment` among its settings
    has them; no copies without it."""
    listed, settings = rows(read_parquet(snakemake.input.manifest)), snakemake.params.train.get("augment")
    augment = Augment.of(settings)
    if augment is None:
        return np.empty((0, len(listed), 0), np.uint16)
    images = load_images(snakemake.params.dataset, listed, vqvae.config.image_size)
    ids, start = [row.image_id for row in listed], time.monotonic()
    copies, seed = settings["copies"], snakemake.params.seed
    tokens = augmented_tokens(vqvae.to(device), images, ids, augment, copies=copies, seed=seed, device=device)
    log.info("%d changed copies of each of %d images in %.1f s", copies, len(ids), time.monotonic() - start)
    return tokens
