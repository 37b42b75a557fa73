"""Train a small discriminative network, so that maps are not judged by their own model alone."""

import time

import torch
from job import compute_device, job
from shapes import model_configs

from varc.baselines.convnet import ConvNetConfig, convnet, train_convnet
from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import load_images, rows
from varc.data.tensors import to_input
from varc.device import device_name
from varc.models.weights import save_model
from varc.storage import read_labels, read_parquet

with job(snakemake) as log:
    device = compute_device(snakemake)
    params, settings = snakemake.params, snakemake.params.judge
    listed = rows(read_parquet(snakemake.input.manifest))
    size = model_configs(params.shape)[0].image_size
    images = load_images(params.dataset, listed, size)
    classes = class_ids(data_set_classes(params.dataset))
    net = convnet(ConvNetConfig(size, classes[-1] + 1), params.seed).to(device)
    labels, start = read_labels(snakemake.input.manifest), time.monotonic()
    train_convnet(
        net,
        list(net.parameters()),
        to_input(images).to(device),
        labels,
        classes,
        settings["steps"],
        settings["lr"],
        params.seed,
        log.info,
    )
    card = {
        "data": params.dataset,
        "images": len(labels),
        "settings": settings,
        "seed": params.seed,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "seconds": time.monotonic() - start,
    }
    save_model(snakemake.output.weights, net.cpu(), card)
