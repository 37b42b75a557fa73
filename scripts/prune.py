"""Keep the best candidates of each image."""

from job import job

from varc.scoring.funnel import mean_over_samples, prune, read_scores
from varc.storage import CANDIDATES, write_parquet

with job(snakemake) as log:
    scores = mean_over_samples([read_scores(path) for path in snakemake.input.scores])
    keep = snakemake.params.keep
    kept = prune(scores, keep)
    provenance = {"images": len(scores.image_ids), "keep": keep, "samples": len(snakemake.input.scores)}
    write_parquet(snakemake.output.candidates, kept, CANDIDATES, provenance)
    log.info("%d of %d candidates kept", min(keep, scores.class_ids.shape[1]), scores.class_ids.shape[1])
