"""Score the images of a shard under classifier-free guidance: log-likelihoods of all classes."""

from job import compute_device, job, measured, progress

from varc.data.classes import class_ids, data_set_classes
from varc.freshness import check_fresh, check_made_with, check_models
from varc.metrics.closed_form import pass_gflops
from varc.models.scales import tokens_at
from varc.models.weights import read_var, read_vqvae
from varc.scoring.funnel import all_classes
from varc.scoring.guidance import score_guided
from varc.storage import column_matrix, image_ids, read_parquet, write_scores

with job(snakemake) as log:
    device = compute_device(snakemake)
    scales = int(snakemake.wildcards.scales)
    table = read_parquet(snakemake.input.tokens)
    vqvae, vqvae_card = read_vqvae(snakemake.input.vqvae, snakemake.params.vqvae_checkpoint)
    var, card = read_var(snakemake.input.var, snakemake.params.var_checkpoint)
    check_models(snakemake.input.var, card, snakemake.input.vqvae, vqvae_card["sha256"])
    check_made_with([snakemake.input.tokens], "vqvae_sha256", vqvae_card["sha256"], snakemake.input.vqvae)
    check_fresh([snakemake.input.tokens])
    ids = image_ids(table)
    candidates = all_classes(class_ids(data_set_classes(snakemake.params.dataset)), len(ids), card)
    tokens = column_matrix(table, "tokens")[:, : tokens_at(var.config.patch_nums, scales)]
    gflops = (candidates.size + len(ids)) * pass_gflops(var.config, scales)
    with measured(device, len(ids), log, gflops) as record:
        per_scale = score_guided(
            var.to(device),
            vqvae.quantize.to(device),
            tokens,
            candidates,
            float(snakemake.wildcards.guidance),
            device=device,
            report=progress(log),
        )
    models = {"var_sha256": card["sha256"], "vqvae_sha256": vqvae_card["sha256"]}
    write_scores(snakemake.output.scores, ids, candidates, per_scale, {**record, **models})
