"""Find the thresholds of an adaptive funnel on calibration images."""

import numpy as np
from job import job

from varc.freshness import check_expected, models_of
from varc.scoring.adaptive import calibrate
from varc.scoring.labelled import is_right, read_labelled_scores
from varc.scoring.scale_weights import read_labelled_weights
from varc.seal import write_json

with job(snakemake) as log:
    check_expected(snakemake.input.scores, snakemake.params.expected)
    weights = read_labelled_weights(snakemake.input.scale_weights, snakemake.input.scores)
    scores = read_labelled_scores(snakemake.input.manifest, snakemake.input.scores, weights)
    best = scores.samples.mean(0).argmax(1)
    right = is_right(best, scores.own)
    params = snakemake.params
    thresholds = calibrate(scores.per_scale, best, right, params.alpha)
    record = {
        "alpha": params.alpha,
        "images": len(right),
        "label_predicted": int(right.sum()),
        "samples": len(scores.samples),
        **models_of(snakemake.input.scores[0]),
        "thresholds": [None if np.isinf(t) else t for t in thresholds],
    }
    write_json(snakemake.output.thresholds, record)
    if np.isinf(thresholds).any():
        log.warning("too few images for alpha %s: no class is ever dropped; take more, or a larger alpha", params.alpha)
    log.info("thresholds in nats: %s", ", ".join(f"{t:.2f}" for t in thresholds))
