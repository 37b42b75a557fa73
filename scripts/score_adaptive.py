"""Score the images of a shard by the adaptive funnel."""

from job import compute_device, job, measured
from kept import job_parts
from models import on_device, read_models

from varc.data.classes import class_ids, data_set_classes
from varc.scoring.adaptive import as_json, read_thresholds
from varc.scoring.funnel import all_classes
from varc.scoring.progressive import adaptive_scores
from varc.scoring.scale_weights import read_scale_weights
from varc.storage import (
    check_apart,
    check_images,
    column_matrix,
    image_ids,
    read_parquet,
    write_open_scores,
)

with job(snakemake) as log:
    device = compute_device(snakemake)
    if calibration := snakemake.input.calibration:  # of the same source
        check_apart(calibration, snakemake.input.manifest)
    tables = [read_parquet(path) for path in snakemake.input.tokens]
    ids = image_ids(tables[0])
    for path, table in zip(snakemake.input.tokens, tables, strict=True):
        check_images(path, image_ids(table), snakemake.input.tokens[0], ids)
    models = read_models(snakemake, snakemake.input.tokens)
    vqvae, var, card, made_with = on_device(models, device, snakemake.params.precision)
    thresholds = read_thresholds(snakemake.input.thresholds, made_with, snakemake.input.var)
    weights = read_scale_weights(snakemake.input.scale_weights, made_with, len(var.config.patch_nums))
    candidates = all_classes(class_ids(data_set_classes(snakemake.params.dataset)), len(ids), card)
    parts = job_parts(snakemake, snakemake.output.scores, device, **made_with)
    with measured(device, len(ids), log, parts=parts) as record:
        result = adaptive_scores(
            var,
            vqvae.quantize.to(device),
            [column_matrix(table, "tokens") for table in tables],
            candidates,
            thresholds,
            device=device,
            weights=weights,
            keep=parts,
        )
    record |= {"thresholds": as_json(thresholds), **made_with}
    write_open_scores(snakemake.output.scores, ids, candidates, result, record)
    parts.remove()
