"""Explain the images of a shard by TMI: one value per token, and the map that they make."""

import numpy as np
from job import compute_device, job, measured

from varc.explain.tmi import choose_against, choose_target, explained_images, tmi, tmi_map
from varc.models.weights import read_var, read_vqvae
from varc.scoring.funnel import read_scores, select_images
from varc.storage import (
    column_matrix,
    fixed_size_list,
    image_ids,
    maps_schema,
    read_parquet,
    shard_bounds,
    write_parquet,
)

with job(snakemake) as log:
    device = compute_device(snakemake)
    params = snakemake.params
    manifest = read_parquet(snakemake.input.manifest)
    first, end = shard_bounds(len(manifest), int(snakemake.wildcards.shard), snakemake.resources.shards)
    chosen = explained_images(image_ids(manifest), params.images, params.seed)[first:end]
    table = read_parquet(snakemake.input.tokens)
    ids, tokens = image_ids(table)[chosen], column_matrix(table, "tokens")[chosen]
    labels = manifest["label"].to_numpy()[first:end][chosen]
    scores = select_images(read_scores(snakemake.input.scores), chosen) if snakemake.input.scores else None
    vqvae, vqvae_card = read_vqvae(snakemake.input.vqvae, params.vqvae_checkpoint)
    var, card = read_var(snakemake.input.var, params.var_checkpoint)
    target = choose_target(params.target, labels, scores)
    against = choose_against(params.against, target, scores)
    with measured(device, len(ids), log) as record:
        per_token = tmi(var.to(device), vqvae.quantize.to(device), tokens, target, against, device=device)
    maps = tmi_map(per_token, var.config.patch_nums).reshape(len(ids), -1)
    write_parquet(
        snakemake.output.maps,
        {
            "image_id": ids,
            "target": target.astype(np.int32),
            "against": against.astype(np.int32),
            "map": fixed_size_list(maps),
            "per_token": fixed_size_list(per_token),
        },
        maps_schema(maps.shape[1], per_token.shape[1]),
        {**record, "var_sha256": card["sha256"], "vqvae_sha256": vqvae_card["sha256"]},
    )
