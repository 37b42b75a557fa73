"""Score the tokens of a shard's explained images, one by one, under the class of one role."""

from explained import explained
from job import compute_device, job, measured
from kept import job_parts
from models import on_device, read_models

from varc.explain.tmi import embedding_rows, randomised
from varc.scoring.likelihood import score_tokens
from varc.storage import fixed_size_list, read_columns, token_scores_schema, write_parquet

with job(snakemake) as log:
    device = compute_device(snakemake)
    files, params = snakemake.input, snakemake.params
    images = explained(snakemake)
    tokens = read_columns([files.tokens], "tokens", files.manifest, images.shard)[images.where]
    models = read_models(snakemake, [files.tokens])
    if params.randomised:
        models = models._replace(var=randomised(models.var, params.seed))
    vqvae, var, _, made_with = on_device(models, device, params.precision)
    class_ids = images.classes[0]
    candidates = embedding_rows(class_ids, var.config.num_classes)[:, None]
    parts = job_parts(snakemake, snakemake.output.token_scores, device, **made_with)
    quantizer = vqvae.quantize.to(device)
    with measured(device, len(class_ids), log, parts=parts) as record:
        log_prob = score_tokens(var, quantizer, tokens, candidates, device=device, keep=parts)[:, 0]
    write_parquet(
        snakemake.output.token_scores,
        {"image_id": images.ids, "class_id": class_ids, "log_prob": fixed_size_list(log_prob)},
        token_scores_schema(log_prob.shape[1]),
        {**record, **made_with},
    )
    parts.remove()
