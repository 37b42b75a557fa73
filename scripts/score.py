"""Score the images of a shard: log-likelihoods of their candidate classes at the first scales."""

from job import compute_device, job, measured, progress
from kept import job_parts
from models import on_device, read_models

from varc.costs.closed_form import pass_gflops
from varc.data.classes import class_ids, data_set_classes
from varc.freshness import check_made_with
from varc.scoring.funnel import all_classes, read_candidates
from varc.scoring.stages import score_stage
from varc.storage import column_matrix, image_ids, read_parquet, write_scores

with job(snakemake) as log:
    device = compute_device(snakemake)
    stage = snakemake.params.stage
    scales, precision, guidance = stage["scales"], stage["precision"], stage["guidance"]
    table = read_parquet(snakemake.input.tokens)
    models = read_models(snakemake, [snakemake.input.tokens])
    ids = image_ids(table)
    if snakemake.input.candidates:
        check_made_with([snakemake.input.candidates], "var_sha256", models.card["sha256"], snakemake.input.var)
        candidates = read_candidates(snakemake.input.candidates, ids)
    else:
        candidates = all_classes(class_ids(data_set_classes(snakemake.params.dataset)), len(ids), models.card)
    tokens = column_matrix(table, "tokens")
    vqvae, var, _, made_with = on_device(models, device, precision, scales)
    parts = job_parts(snakemake, snakemake.output.scores, device, **made_with)
    quantizer = vqvae.quantize.to(device)
    size = None if snakemake.resources.batch_size == "auto" else snakemake.resources.batch_size
    how = {"device": device, "batch_size": size, "report": progress(log, parts), "keep": parts, "state": parts.state}
    passes = candidates.size + (len(ids) if guidance else 0)  # the unconditional class too
    with measured(device, len(ids), log, passes * pass_gflops(var.config, scales), parts) as record:
        per_scale = score_stage(var, quantizer, tokens, candidates, scales=scales, guidance=guidance, **how)
    record |= made_with
    write_scores(snakemake.output.scores, ids, candidates, per_scale, record)
    parts.remove()
