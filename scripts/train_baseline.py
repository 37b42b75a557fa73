"""Train a rival classifier."""

import time

import torch
from job import compute_device, job

from varc.baselines.family import family, images_seen, seeded, settings
from varc.baselines.weights import save_baseline
from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import load_images, rows
from varc.device import device_name
from varc.storage import read_labels, read_parquet

with job(snakemake) as log:
    device = compute_device(snakemake)
    params, entry = snakemake.params, snakemake.params.baseline
    kind = family(entry["family"])
    shape = settings(kind.Shape, entry["shape"])
    training = settings(kind.Training, entry["train"], but="data")
    listed = rows(read_parquet(snakemake.input.manifest))
    images = load_images(params.dataset, listed, shape.image_size)
    labels = read_labels(snakemake.input.manifest)
    classes = class_ids(data_set_classes(params.dataset))[-1] + 1
    model, start = seeded(kind.build, shape, classes, params.seed).to(device), time.monotonic()
    kind.train(model, images, labels, training, params.seed, log.info)
    card = {
        "architecture": {"family": entry["family"], "shape": entry["shape"], "num_classes": classes},
        "data": params.dataset,
        "images": len(labels),
        "images_seen": images_seen(kind, shape, training, labels),
        "settings": entry["train"],
        "seed": params.seed,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "seconds": time.monotonic() - start,
    }
    save_baseline(snakemake.output.weights, model.cpu(), card)
