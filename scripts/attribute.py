"""Explain the images of a shard by asking the model about masked images: LIME, KernelSHAP, occlusion."""

from functools import partial

import numpy as np
from explained import explained
from job import compute_device, job, measured, progress
from kept import job_parts
from models import on_device, read_models

from varc.costs.closed_form import pass_gflops
from varc.costs.models import encoder_cost
from varc.data.manifest import load_images
from varc.explain.attribution import attribute, masked_images
from varc.explain.judges import varc_judge
from varc.storage import write_maps


def log_ratio(classes):
    """What is explained: log p(x | target) - log p(x | against), of masked images."""
    judge = varc_judge(vqvae, var, classes, device, parts)
    return lambda masked: -np.diff(judge(masked), axis=1)[:, 0]


with job(snakemake) as log:
    device = compute_device(snakemake)
    files, params, method = snakemake.input, snakemake.params, snakemake.params.method
    vqvae, var, _, made_with = on_device(read_models(snakemake), device, params.precision)
    vqvae = vqvae.to(device)
    found = explained(snakemake)
    images = load_images(params.dataset, found.rows, vqvae.config.image_size)
    parts = job_parts(snakemake, snakemake.output.maps, device, **made_with)
    grid, report = var.config.patch_nums[-1], progress(log, parts)
    maps = np.empty((len(images), grid * grid), np.float32)
    with measured(device, len(images), log, parts=parts) as record:
        for i, classes in enumerate(zip(*found.classes, strict=True)):
            score = log_ratio(np.array(classes))
            of_image = method, images[i], score, grid, params.budget, found.ids[i], params.seed
            maps[i] = parts(partial(attribute, *of_image)).ravel()
            report(i + 1, len(images))
    asked = masked_images(method, grid, params.budget)
    cost = encoder_cost(vqvae.config).gflops + 2 * pass_gflops(var.config, len(var.config.patch_nums))
    record |= {"passes_per_image": 2 * asked, "gflops_per_image": asked * cost}
    record |= made_with
    write_maps(snakemake.output.maps, found.ids, *found.classes, maps, var.config.num_tokens, record)
    parts.remove()
