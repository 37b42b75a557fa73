"""Quantise the features of a shard into tokens, clean or with one sample of noise."""

import torch
from job import compute_device, job, measured

from varc.freshness import check_made_with
from varc.models.vqvae_weights import read_vqvae
from varc.scoring.smoothing import absolute_sigma, tokenize
from varc.storage import (
    column_matrix,
    fixed_size_list,
    image_ids,
    provenance,
    read_parquet,
    tokens_schema,
    write_parquet,
)

with job(snakemake) as log:
    device = compute_device(snakemake)
    table = read_parquet(snakemake.input.features)
    vqvae, card = read_vqvae(snakemake.input.vqvae, snakemake.params.checkpoint)
    check_made_with([snakemake.input.features], "vqvae_sha256", card["sha256"], snakemake.input.vqvae)
    shape = provenance(snakemake.input.features)["shape"]
    features = torch.tensor(column_matrix(table, "features")).unflatten(1, shape)
    sigma, sample = snakemake.params.noise
    sigma = absolute_sigma(sigma, card.get("feature_std"))
    with measured(device, len(features), log) as record:
        tokens = tokenize(
            vqvae.quantize.to(device),
            features,
            image_ids(table),
            sample=sample,
            sigma=sigma,
            seed=snakemake.params.seed,
            batch_size=snakemake.resources.batch_size,
            device=device,
        )
    write_parquet(
        snakemake.output.tokens,
        {"image_id": table["image_id"], "tokens": fixed_size_list(tokens)},
        tokens_schema(tokens.shape[1]),
        {
            **record,
            "sigma": sigma,
            "sample": sample,
            "seed": snakemake.params.seed,
            "vqvae_sha256": card["sha256"],
        },
    )
