"""Find the thresholds of an adaptive funnel on calibration images."""

import json
from pathlib import Path

import numpy as np
from job import job

from varc.scoring.adaptive import calibrate, read_full_scores
from varc.storage import read_parquet

with job(snakemake) as log:
    labels = read_parquet(snakemake.input.manifest)["label"].to_numpy()
    per_scale, samples, class_ids = read_full_scores(snakemake.input.scores, len(labels))
    label_index = np.searchsorted(class_ids, labels)
    thresholds = calibrate(per_scale, samples.mean(0), label_index, snakemake.params.alpha)
    record = {
        "alpha": snakemake.params.alpha,
        "images": len(labels),
        "label_predicted": int((samples.mean(0).argmax(1) == label_index).sum()),
        "samples": len(samples),
        "thresholds": [None if np.isinf(t) else t for t in thresholds],
    }
    Path(snakemake.output.thresholds).write_text(json.dumps(record, indent=2) + "\n")
    log.info("thresholds in nats: %s", ", ".join(f"{t:.2f}" for t in thresholds))
