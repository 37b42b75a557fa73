"""Make the table of the scales' weights."""

import numpy as np
import pandas as pd
from job import job

from varc.metrics.tables import write_table
from varc.scoring.scale_weights import prefix_weights
from varc.seal import read_json

CAPTION = (
    "weight: of the k-th scale's log-likelihood in the scores of the model's classifiers with scale_weights, such that "
    "their mean is 1; fitted on the images of `dataset`. nll: mean -log p(label) of these images in nats, by the "
    "softmax over classes; equal: of plain scores; temperature: of these at the best temperature."
)

with job(snakemake) as log:
    rows = []
    for (model, dataset), path in zip(snakemake.params.fits, snakemake.input.weights, strict=True):
        found = read_json(path)
        weights = np.array(found["weights"])
        losses = {name: found[name] for name in ("nll_equal", "nll_temperature", "nll")}
        rows += [
            {"model": model, "dataset": dataset, "k": k, "weight": weight, "images": found["images"], **losses}
            for k, weight in enumerate(prefix_weights(weights, len(weights)), 1)
        ]
    write_table(pd.DataFrame(rows), snakemake.output.csv, snakemake.output.markdown, CAPTION)
