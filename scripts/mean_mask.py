"""Make maps of a shard's images from the truth of others: where the same two classes differ in other groups."""

import numpy as np
from explained import explained, read_paired
from job import compute_device, job, measured
from shapes import model_configs

from varc.data.manifest import rows
from varc.explain.contrast import mean_masks, patch_means, truth
from varc.storage import read_parquet, write_maps

with job(snakemake) as log:
    files, params = snakemake.input, snakemake.params
    found, paired = explained(snakemake), read_paired(files.pairs)
    listed = rows(read_parquet(files.manifest))
    group = {row.image_id: row.image_id if row.group is None else row.group for row in listed}
    kinds = {(int(target), int(against)) for target, against in zip(*found.classes, strict=True)}
    pairs = [pair for pair in paired.values() if (pair.target, pair.against) in kinds]
    vqvae, var = model_configs(params.shape)
    grid = var.patch_nums[-1]
    maps = np.empty((0, grid, grid), np.float32)
    with measured(compute_device(snakemake), len(found.ids), log) as record:
        if pairs:
            masks = truth(params.dataset, pairs, listed, vqvae.image_size, files.pairs).masks
            kind = [(pair.target, pair.against) for pair in pairs]
            means = mean_masks(masks, kind, [group[pair.image_id] for pair in pairs])
            where = {pair.image_id: i for i, pair in enumerate(pairs)}
            maps = patch_means(means[[where[image_id] for image_id in found.ids]], grid)
    record |= {"passes_per_image": 0, "gflops_per_image": 0.0}
    flat = maps.reshape(len(found.ids), grid * grid)
    write_maps(snakemake.output.maps, found.ids, *found.classes, flat, var.num_tokens, record)
