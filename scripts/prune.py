"""Keep the best candidates of each image."""

from job import job

from varc.freshness import check_agree, check_expected, models_of
from varc.scoring.funnel import over_samples, prune, read_scores
from varc.scoring.scale_weights import read_scale_weights
from varc.storage import CANDIDATES, write_parquet

with job(snakemake) as log:
    check_agree(snakemake.input.scores)
    check_expected(snakemake.input.scores, snakemake.params.expected)
    keep, scales = snakemake.params.keep, snakemake.params.scales
    weights = read_scale_weights(snakemake.input.scale_weights, models_of(snakemake.input.scores[0]), scales)
    samples = [read_scores(path, scales, weights) for path in snakemake.input.scores]
    scores = over_samples(samples, snakemake.params.combine)
    kept = prune(scores, keep)
    record = {"images": len(scores.image_ids), "keep": keep, "samples": len(snakemake.input.scores)}
    models = models_of(snakemake.input.scores[0])
    write_parquet(snakemake.output.candidates, kept, CANDIDATES, {**record, **models})
    log.info("%d of %d candidates kept", min(keep, scores.class_ids.shape[1]), scores.class_ids.shape[1])
