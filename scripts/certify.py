"""Find how far behind float32's prediction may be in a lower precision, on calibration images."""

import numpy as np
from job import job

from varc.freshness import check_expected, models_of
from varc.scoring.adaptive import finite_or_none
from varc.scoring.certified import certified_delta, certified_units
from varc.scoring.labelled import read_labelled_scores
from varc.scoring.scale_weights import read_labelled_weights
from varc.seal import write_json

with job(snakemake) as log:
    files, alpha = snakemake.input, snakemake.params.alpha
    check_expected([*files.quick, *files.exact], snakemake.params.expected)
    weights, scales = read_labelled_weights(files.scale_weights, files.quick), snakemake.params.scales
    quick = read_labelled_scores(files.manifest, files.quick, weights)
    exact = read_labelled_scores(files.manifest, files.exact, weights, scales)
    delta = certified_delta(quick.samples[0], exact.samples[0], alpha, exact.groups)
    units = certified_units(len(exact.labels), alpha, exact.groups)
    record = {
        "alpha": alpha,
        "images": len(exact.labels),
        **units._asdict(),
        **models_of(files.exact[0]),
        "delta": finite_or_none(delta),
    }
    write_json(snakemake.output.delta, record)
    if np.isinf(delta):
        few = f"{units.units} {units.unit}s, and it takes {units.units_needed}"
        log.warning("alpha %s: %s: all classes are scored in float32; take more, or a larger alpha", alpha, few)
    log.info("delta: %.4f nats", delta)
