"""Train a VQ-VAE on the images of a data set."""

import time
from pathlib import Path

import torch
from job import compute_device, job

from varc.data.manifest import load_images, rows
from varc.data.preprocess import to_input
from varc.device import device_name
from varc.models.vqvae import VQVAEConfig
from varc.models.weights import save_model
from varc.storage import read_parquet
from varc.training.curves import plot_curve, write_curve
from varc.training.loop import Checkpoint
from varc.training.vqvae import feature_std, train_vqvae

with job(snakemake) as log:
    device = compute_device(snakemake)
    train = snakemake.params.train
    config = VQVAEConfig.of(train)
    listed = rows(read_parquet(snakemake.input.manifest))
    images = to_input(load_images(snakemake.params.dataset, listed, config.image_size)).to(device)
    checkpoint = Checkpoint(Path(snakemake.output.weights).with_name("vqvae.checkpoint"))
    start = time.monotonic()
    model, curve = train_vqvae(
        config,
        images,
        steps=train["steps"],
        batch_size=train["batch_size"],
        lr=train["lr"],
        seed=snakemake.params.seed,
        report=log.info,
        checkpoint=checkpoint,
    )
    seconds = checkpoint.seconds + time.monotonic() - start
    card = {
        "data": snakemake.params.dataset,
        "images": len(images),
        "settings": train,
        "seed": snakemake.params.seed,
        "feature_std": feature_std(model, images, train["batch_size"]),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "seconds": seconds,
    }
    write_curve(snakemake.output.curve, curve)
    plot_curve(snakemake.output.plot, curve, "reconstruction", "mean squared error")
    save_model(snakemake.output.weights, model.cpu(), card)
    checkpoint.path.unlink(missing_ok=True)
