"""Explain the images of a shard by the gradients of a judging network (GradientSHAP)."""

import numpy as np
import torch
from explained import explained
from job import compute_device, job, measured
from shapes import model_configs

from varc.baselines.convnet import load_convnet
from varc.data.manifest import load_images
from varc.explain.attribution import gradient_shap
from varc.metrics.flops import count
from varc.storage import write_maps

with job(snakemake) as log:
    device = compute_device(snakemake)
    params = snakemake.params
    net, card = load_convnet(snakemake.input.judge)
    net = net.to(device)
    found = explained(snakemake)
    vqvae, var = model_configs(params.shape)
    images = load_images(params.dataset, found.rows, vqvae.image_size)
    grid = var.patch_nums[-1]
    maps = np.empty((len(images), grid * grid), np.float32)
    with measured(device, len(images), log) as record:
        for i, class_id in enumerate(found.classes[0]):
            maps[i] = gradient_shap(net, images[i], int(class_id), grid, params.budget, params.seed).ravel()
    one = torch.zeros(1, 3, vqvae.image_size, vqvae.image_size, device=device)
    record |= {"passes_per_image": params.budget, "gflops_per_image": params.budget * count(net, one).gflops}
    record |= {"judge_sha256": card["sha256"]}
    write_maps(snakemake.output.maps, found.ids, *found.classes, maps, var.num_tokens, record)
