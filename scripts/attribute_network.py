"""Explain the images of a shard by the gradients of a judging network: GradientSHAP, saliency, GradCAM."""

from functools import partial

import numpy as np
import torch
from explained import explained
from job import compute_device, job, measured
from kept import job_parts
from networks import read_network
from shapes import model_configs

from varc.costs.counting import count
from varc.data.manifest import load_images
from varc.explain.attribution import gradient_shap
from varc.explain.gradients import grad_cam, saliency
from varc.storage import write_maps


def attribute(method, net, layer, image, class_id, grid):
    """A map (grid, grid) of one image by a method."""
    if method == "gradient_shap":
        return gradient_shap(net, image, class_id, grid, params.budget, params.seed)
    return saliency(net, image, class_id, grid) if method == "saliency" else grad_cam(net, layer, image, class_id, grid)


with job(snakemake) as log:
    device = compute_device(snakemake)
    params = snakemake.params
    net, layer, card = read_network(snakemake.input.judge, params.rival)
    net = net.to(device)
    found = explained(snakemake)
    vqvae, var = model_configs(params.shape)
    images = load_images(params.dataset, found.rows, vqvae.image_size)
    grid = var.patch_nums[-1]
    maps = np.empty((len(images), grid * grid), np.float32)
    method = params.method
    parts = job_parts(snakemake, snakemake.output.maps, device, judge_sha256=card["sha256"])
    with measured(device, len(images), log, parts=parts) as record:
        for i, class_id in enumerate(found.classes[0]):
            maps[i] = parts(partial(attribute, method, net, layer, images[i], int(class_id), grid)).ravel()
    passes = params.budget if method == "gradient_shap" else 1
    one = torch.zeros(1, 3, vqvae.image_size, vqvae.image_size, device=device)
    record |= {"passes_per_image": passes, "gflops_per_image": passes * count(net, one).gflops}
    record |= {"judge_sha256": card["sha256"]}
    write_maps(snakemake.output.maps, found.ids, *found.classes, maps, var.num_tokens, record)
    parts.remove()
