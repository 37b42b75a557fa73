"""Find the thresholds of an adaptive funnel on calibration images."""

import numpy as np
from job import job

from varc.freshness import check_expected, models_of
from varc.scoring.adaptive import as_json, calibrate, calibration_units
from varc.scoring.labelled import is_right, read_weighted_scores
from varc.seal import write_json

with job(snakemake) as log:
    check_expected(snakemake.input.scores, snakemake.params.expected)
    scores = read_weighted_scores(snakemake.input.manifest, snakemake.input.scores, snakemake.input.scale_weights)
    best = scores.samples.mean(0).argmax(1)
    right = is_right(best, scores.own)
    params = snakemake.params
    thresholds = calibrate(scores.per_scale, best, right, params.alpha, scores.groups)
    units = calibration_units(right, params.alpha, scores.groups)
    record = {
        "alpha": params.alpha,
        "images": len(right),
        "label_predicted": int(right.sum()),
        **units._asdict(),
        "samples": len(scores.samples),
        **models_of(snakemake.input.scores[0]),
        "thresholds": as_json(thresholds),
    }
    write_json(snakemake.output.thresholds, record)
    if np.isinf(thresholds).any():
        few = f"{units.units} {units.unit}s with a right prediction, and it takes {units.units_needed}"
        log.warning("alpha %s: %s: no class is ever dropped; take more, or a larger alpha", params.alpha, few)
    log.info("thresholds in nats: %s", ", ".join(f"{t:.2f}" for t in thresholds))
