"""Encode the images of a shard into features."""

from job import compute_device, job, measured
from kept import job_parts

from varc.data.manifest import image_batches, rows
from varc.data.preprocess import PREPARED
from varc.models.vqvae_weights import read_vqvae
from varc.prefetch import waited
from varc.scoring.smoothing import encode_batches
from varc.storage import features_schema, fixed_size_list, read_parquet, shard_bounds, write_parquet

with job(snakemake) as log:
    device = compute_device(snakemake)
    listed = rows(read_parquet(snakemake.input.manifest))
    first, end = shard_bounds(len(listed), snakemake.params.shard, snakemake.resources.shards)
    listed = listed[first:end]
    vqvae, card = read_vqvae(snakemake.input.vqvae, snakemake.params.checkpoint)
    parts = job_parts(snakemake, snakemake.output.features, device, vqvae_sha256=card["sha256"])
    with measured(device, len(listed), log, parts=parts) as record:
        known = parts.rest()
        left = listed[sum(len(batch) for batch, _ in known) :]
        batches = image_batches(snakemake.params.dataset, left, vqvae.config.image_size, snakemake.resources.batch_size)
        features, pixels = encode_batches(vqvae.to(device), waited(batches, record), device, known, parts)
    flat = features.flatten(1).numpy()
    write_parquet(
        snakemake.output.features,
        {"image_id": [row.image_id for row in listed], "features": fixed_size_list(flat), "pixels_sha256": pixels},
        features_schema(flat.shape[1]),
        {
            **record,
            "shape": list(features.shape[1:]),
            **{key: value for key, value in snakemake.params.dataset.items() if key in PREPARED},
            "size": vqvae.config.image_size,
            "vqvae_sha256": card["sha256"],
        },
    )
    parts.remove()
