"""Train a VAR on cached tokens."""

import time
from pathlib import Path

import numpy as np
import torch
from augmented import augmented
from job import compute_device, job
from shapes import var_config

from varc.data.classes import class_ids, data_set_classes
from varc.device import device_name
from varc.freshness import check_made_with
from varc.models.vqvae_weights import read_vqvae
from varc.models.weights import save_model
from varc.storage import read_labels, read_samples
from varc.training.curves import plot_curve, write_curve
from varc.training.loop import Checkpoint
from varc.training.selection import kept_step
from varc.training.validation import read_validation, top1_then_likelihood
from varc.training.var import train_var

with job(snakemake) as log:
    device = compute_device(snakemake)
    train = snakemake.params.train
    vqvae, vqvae_card = read_vqvae(snakemake.input.vqvae, snakemake.params.vqvae_checkpoint)
    labels = torch.from_numpy(read_labels(snakemake.input.manifest))
    check_made_with(snakemake.input.tokens, "vqvae_sha256", vqvae_card["sha256"], snakemake.input.vqvae)
    samples = read_samples(list(snakemake.input.tokens), train["samples"], snakemake.input.manifest)
    samples = [*samples, *augmented(snakemake, vqvae, device, log)]
    tokens = torch.from_numpy(np.stack(samples).astype(np.int64))
    validation = None
    if validated := snakemake.params.validation_dataset:
        validation = read_validation(
            list(snakemake.input.validation_tokens),
            snakemake.input.validation_manifest,
            class_ids(data_set_classes(validated)),
            every=train["validate_every"],
            images=train.get("validate_images"),
            seed=snakemake.params.seed,
        )
    num_classes = class_ids(data_set_classes(snakemake.params.dataset))[-1] + 1
    config = var_config(train, vqvae.config, num_classes)
    checkpoint = Checkpoint(Path(snakemake.output.weights).with_name("var.checkpoint"))
    start = time.monotonic()
    model, curve = train_var(
        config,
        vqvae.quantize.to(device),
        tokens.to(device),
        labels.to(device),
        steps=train["steps"],
        batch_size=train["batch_size"],
        lr=train["lr"],
        seed=train.get("seed", snakemake.params.seed),
        label_dropout=train["label_dropout"],
        ema=train.get("ema"),
        validation=validation,
        report=log.info,
        checkpoint=checkpoint,
    )
    card = {
        "data": snakemake.params.dataset,
        "images": len(labels),
        "settings": train,
        "kept": kept_step(curve, top1_then_likelihood),
        "seed": snakemake.params.seed,
        "vqvae_sha256": vqvae_card["sha256"],
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "seconds": checkpoint.seconds + time.monotonic() - start,
    }
    write_curve(snakemake.output.curve, curve)
    plot_curve(snakemake.output.plot, curve, "loss", "cross-entropy, nats per token", "validation_nats_per_token")
    save_model(snakemake.output.weights, model.cpu(), card)
    checkpoint.path.unlink(missing_ok=True)
