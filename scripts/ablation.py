"""Make the table of smoothing and fine-tuning, each alone and together."""

import pandas as pd
from job import job

from varc.metrics.ablation import ablation_row, with_paper
from varc.metrics.holm import with_holm
from varc.metrics.tables import write_table
from varc.scoring.labelled import is_right, read_labelled_scores
from varc.scoring.scale_weights import read_labelled_weights

CAPTION = (
    "Without pruning: all classes at all scales. scale_weights: the images that the scales' weights are fitted on, if "
    "any. training: how the model came about; cross_entropy continues the base's own training, discriminative adds a "
    "softmax over classes. vs_plain: top-1 minus that of the plain classifier, on the same images, with its 95 % "
    "interval (Fay and Lumbard 2021), McNemar's exact p, the same adjusted for the number of rows (Holm), and the "
    "images gained and lost; intervals and p are over groups where unit says so. log_likelihood_per_token: under the "
    "label, clean sample, nats. paper_*: the paper's rows, on ImageNet-100 with d16."
)


def read(i):
    """Log-likelihoods of all samples and classes, which classes stand for each image's label, and groups."""
    files = snakemake.input
    weights = read_labelled_weights(files[f"scale_weights{i}"], files[f"scores{i}"])
    scores = read_labelled_scores(files[f"manifest{i}"], files[f"scores{i}"], weights)
    return scores.samples, scores.own, scores.groups


with job(snakemake) as log:
    gflops = pd.read_csv(snakemake.input.gflops)
    totals = gflops[gflops["stage"] == "total"].set_index(["dataset", "classifier"])["gflops"]
    specs = snakemake.params.rows
    plain_right = {}  # of each data set
    for i, spec in enumerate(specs):
        if spec["classifier"] == snakemake.params.plain:
            samples, own, _ = read(i)
            plain_right[spec["dataset"]] = is_right(samples[0].argmax(1), own)
    rows = []
    for i, spec in enumerate(specs):
        tokens = snakemake.params.tokens[spec["model"]]
        compared = None if spec["classifier"] == snakemake.params.plain else plain_right[spec["dataset"]]
        samples, own, groups = read(i)
        found = ablation_row(samples, own, compared, tokens, groups)
        rows.append({**spec, **found, "gflops_per_image": totals[spec["dataset"], spec["classifier"]]})
    base = next(spec["base"] for spec in specs if spec["classifier"] == snakemake.params.plain)
    table = with_holm(pd.DataFrame(rows), "vs_plain_p")
    table = with_paper(table, snakemake.input.published or None, base)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
