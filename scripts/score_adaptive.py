"""Score the images of a shard by the adaptive funnel."""

import numpy as np
from job import compute_device, job, measured
from kept import job_parts
from models import read_models

from varc.data.classes import class_ids, data_set_classes
from varc.errors import InputError
from varc.scoring.adaptive import as_json, read_thresholds
from varc.scoring.funnel import all_classes
from varc.scoring.progressive import adaptive_scores
from varc.scoring.scale_weights import read_scale_weights
from varc.storage import (
    adaptive_schema,
    check_images,
    column_matrix,
    fixed_size_list,
    image_ids,
    read_parquet,
    write_parquet,
)

with job(snakemake) as log:
    device = compute_device(snakemake)
    if calibration := snakemake.input.calibration:  # of the same source
        known = set(image_ids(read_parquet(calibration)))
        if both := sorted(known & set(image_ids(read_parquet(snakemake.input.manifest)))):
            raise InputError(f"{calibration}: {both[0]} and {len(both) - 1} others are test images as well")
    tables = [read_parquet(path) for path in snakemake.input.tokens]
    ids = image_ids(tables[0])
    for path, table in zip(snakemake.input.tokens, tables, strict=True):
        check_images(path, image_ids(table), snakemake.input.tokens[0], ids)
    vqvae, var, card, made_with = read_models(snakemake, snakemake.input.tokens)
    thresholds = read_thresholds(snakemake.input.thresholds, made_with, snakemake.input.var)
    weights = read_scale_weights(snakemake.input.scale_weights, made_with, len(var.config.patch_nums))
    candidates = all_classes(class_ids(data_set_classes(snakemake.params.dataset)), len(ids), card)
    parts = job_parts(snakemake, snakemake.output.scores, device, **made_with)
    with measured(device, len(ids), log, parts=parts) as record:
        result = adaptive_scores(
            var.to(device),
            vqvae.quantize.to(device),
            [column_matrix(table, "tokens") for table in tables],
            candidates,
            thresholds,
            device=device,
            weights=weights,
            keep=parts,
        )
    write_parquet(
        snakemake.output.scores,
        {
            "image_id": np.repeat(ids, candidates.shape[1]),
            "class_id": candidates.ravel(),
            "scales": result.scales.ravel(),
            "samples": result.samples.ravel(),
            "log_likelihood": result.log_likelihood.ravel(),
            "per_scale": fixed_size_list(result.per_scale.reshape(-1, len(thresholds))),
        },
        adaptive_schema(len(thresholds)),
        {**record, "thresholds": as_json(thresholds), **made_with},
    )
    parts.remove()
