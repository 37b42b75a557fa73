"""Make the table of calibration: are the softmax's probabilities right, before and after temperature scaling?"""

import pandas as pd
from job import job

from varc.metrics.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from varc.metrics.plots import plot_reliability
from varc.metrics.tables import write_table
from varc.scoring.combining import combined
from varc.scoring.labelled import read_weighted_scores

CAPTION = (
    "Softmax over classes of the mean log-likelihood. temperature: fitted on the calibration images. ece: expected "
    "calibration error, 15 bins of equal width; nll: mean -log p(label) in nats; of the evaluated images, at "
    "temperature 1 and at the fitted one."
)


def read(kind, i):
    """Mean log-likelihoods of all classes, the images' labels, the label that each class stands for, and the groups."""
    files = snakemake.input
    scores = read_weighted_scores(files[f"{kind}_manifest{i}"], files[f"{kind}_scores{i}"], files[f"scale_weights{i}"])
    means = combined(scores.samples, snakemake.params.combines[i])
    return (means, scores.labels, scores.class_labels), scores.groups


with job(snakemake) as log:
    rows, curves = [], {}
    for i, (dataset, classifier) in enumerate(snakemake.params.pairs):
        (known, _), (test, groups) = read("calibration", i), read("test", i)
        temperature = fit_temperature(*known)
        row = {"dataset": dataset, "classifier": classifier, "images": len(test[1]), "temperature": temperature}
        row["calibration_images"] = len(known[1])
        for name, t in (("before", 1.0), ("after", temperature)):
            row[f"ece_{name}"] = expected_calibration_error(*test, t)
            row[f"nll_{name}"] = negative_log_likelihood(*test, t)
            curves[f"{dataset}, {classifier}, {name}"] = reliability(*test, t, groups)
        rows.append(row)
    write_table(pd.DataFrame(rows), snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_reliability(snakemake.output.plot, curves)
