"""Train a VQ-VAE on the images of a data set."""

import time
from pathlib import Path

import torch
from job import compute_device, job

from varc.data.manifest import load_images, rows
from varc.device import device_name
from varc.models.vqvae import VQVAEConfig
from varc.models.weights import save_model
from varc.seeded import first_by_hash
from varc.storage import read_parquet
from varc.training.augment import Augment
from varc.training.curves import plot_curve, write_curve
from varc.training.loop import Checkpoint
from varc.training.selection import kept_step
from varc.training.vqvae import Pictures, feature_std, least_error, train_vqvae

with job(snakemake) as log:
    device = compute_device(snakemake)
    train = snakemake.params.train
    config = VQVAEConfig.of(train)
    listed = rows(read_parquet(snakemake.input.manifest))
    images = load_images(snakemake.params.dataset, listed, config.image_size)
    validation = None
    if validated := snakemake.params.validation_dataset:
        others = rows(read_parquet(snakemake.input.validation_manifest))
        ids = [row.image_id for row in others]
        chosen = first_by_hash(ids, train.get("validate_images"), snakemake.params.seed, "validate")
        others = [others[i] for i in chosen]
        validation = Pictures(load_images(validated, others, config.image_size), train["validate_every"])
    checkpoint = Checkpoint(Path(snakemake.output.weights).with_name("vqvae.checkpoint"))
    start = time.monotonic()
    model, curve = train_vqvae(
        config,
        images,
        steps=train["steps"],
        batch_size=train["batch_size"],
        lr=train["lr"],
        seed=snakemake.params.seed,
        device=device,
        ema=train.get("ema"),
        augment=Augment.of(train.get("augment")),
        validation=validation,
        report=log.info,
        checkpoint=checkpoint,
    )
    seconds = checkpoint.seconds + time.monotonic() - start
    card = {
        "data": snakemake.params.dataset,
        "images": len(images),
        "settings": train,
        "kept": kept_step(curve, least_error),
        "seed": snakemake.params.seed,
        "feature_std": feature_std(model, images, train["batch_size"], device),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "seconds": seconds,
    }
    write_curve(snakemake.output.curve, curve)
    plot_curve(snakemake.output.plot, curve, "reconstruction", "mean squared error", "validation_reconstruction")
    save_model(snakemake.output.weights, model.cpu(), card)
    checkpoint.path.unlink(missing_ok=True)
