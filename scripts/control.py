"""Make maps of a shard's images that know nothing of a model: what any explanation must beat."""

import numpy as np
from explained import explained
from job import compute_device, job, measured
from shapes import model_configs

from varc.data.manifest import load_images
from varc.explain.attribution import control
from varc.storage import write_maps

with job(snakemake) as log:
    params = snakemake.params
    found = explained(snakemake)
    vqvae, var = model_configs(params.shape)
    images = load_images(params.dataset, found.rows, vqvae.image_size)
    grid = var.patch_nums[-1]
    maps = np.empty((len(images), grid * grid), np.float32)
    with measured(compute_device(snakemake), len(images), log) as record:
        for i, image in enumerate(images):
            maps[i] = control(params.method, image, grid, found.ids[i], params.seed).ravel()
    record |= {"passes_per_image": 0, "gflops_per_image": 0.0}
    write_maps(snakemake.output.maps, found.ids, *found.classes, maps, var.num_tokens, record)
