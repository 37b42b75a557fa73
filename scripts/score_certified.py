"""Score in float32 the classes of a shard's images that may be its prediction."""

import numpy as np
from job import compute_device, job, measured
from kept import job_parts
from models import on_device, read_models

from varc.freshness import check_made_with
from varc.models.scales import tokens_at
from varc.scoring.adaptive import finite_or_none
from varc.scoring.certified import certified_scores, read_delta
from varc.scoring.funnel import read_per_scale, read_scores
from varc.scoring.progressive import score_chosen
from varc.scoring.scale_weights import read_scale_weights
from varc.storage import check_apart, check_images, column_matrix, image_ids, read_parquet, write_open_scores

with job(snakemake) as log:
    device, files = compute_device(snakemake), snakemake.input
    if files.calibration:  # of the same source
        check_apart(files.calibration, files.manifest)
    table = read_parquet(files.tokens)
    ids, (quick_file,) = image_ids(table), files.quick
    quick, per_scale = read_scores(quick_file), read_per_scale(quick_file)
    check_images(quick_file, quick.image_ids, files.tokens, ids)
    models, scales = read_models(snakemake, [files.tokens, quick_file]), per_scale.shape[2]
    check_made_with([quick_file], "var_sha256", models.card["sha256"], files.var)
    vqvae, var, _, made_with = on_device(models, device, "float32", scales)
    delta = read_delta(files.delta, made_with, files.var)
    weights = read_scale_weights(files.scale_weights, made_with, scales)
    tokens = column_matrix(table, "tokens")[:, : tokens_at(var.config.patch_nums, scales)]
    parts = job_parts(snakemake, snakemake.output.scores, device, **made_with)
    exact, candidates = (var, vqvae.quantize.to(device)), quick.class_ids.astype(np.int32)
    with measured(device, len(ids), log, parts=parts) as record:
        result = certified_scores(
            per_scale,
            delta,
            lambda chosen: score_chosen(*exact, tokens, candidates, chosen, device=device, keep=parts),
            weights,
        )
    record |= {"delta": finite_or_none(delta), **made_with}
    write_open_scores(snakemake.output.scores, ids, candidates, result, record)
    parts.remove()
