"""Fit the weights of the scales on the scores of a validation set."""

from job import job

from varc.freshness import check_expected, models_of
from varc.scoring.labelled import read_labelled_scores
from varc.scoring.scale_weights import fit_scale_weights
from varc.seal import write_json

with job(snakemake) as log:
    check_expected(snakemake.input.scores, snakemake.params.expected)
    scores = read_labelled_scores(snakemake.input.manifest, snakemake.input.scores)
    found = fit_scale_weights(scores.per_scale, scores.own)
    record = {"images": len(scores.labels), **models_of(snakemake.input.scores[0]), **found._asdict()}
    write_json(snakemake.output.weights, record | {"weights": found.weights.tolist()})
    log.info("nats per label: %.4f, at equal weights %.4f", found.nll, found.nll_temperature)
    log.info("weights: %s", ", ".join(f"{w:.4g}" for w in found.weights))
