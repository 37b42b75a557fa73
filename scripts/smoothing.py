"""Make the table of smoothing: top-1 against the number of samples, and against sigma."""

import pandas as pd
from job import job

from varc.metrics.ablation import share_changed, smoothing_rows
from varc.metrics.holm import with_holm
from varc.metrics.plots import plot_smoothing
from varc.metrics.tables import write_table
from varc.scoring.labelled import read_labelled_scores
from varc.storage import provenance, read_samples

CAPTION = (
    "All classes at all scales. noise: sigma as in the config; sigma: absolute, on the features. samples: the clean "
    "one and the noisy ones. combine: the mean of their log-likelihoods, or the log of their mean likelihood. "
    "tokens_changed: the share of the noisy samples' tokens that differ from the clean sample's. vs_clean: top-1 minus "
    "that of the clean sample alone, paired, with a 95 % interval (Fay and Lumbard 2021; with groups no narrower than "
    "by their sign-flip test), McNemar's exact p, the same adjusted for the number of rows (Holm), and the images "
    "gained and lost."
)

with job(snakemake) as log:
    rows = []
    for i, (dataset, model, noise, counts) in enumerate(snakemake.params.grid):
        files = snakemake.input
        scores = read_labelled_scores(files[f"manifest{i}"], files[f"scores{i}"])
        paths = list(files[f"tokens{i}"])
        tokens = read_samples(paths, counts[-1], files[f"manifest{i}"])
        known = {"dataset": dataset, "model": model, "noise": noise, "sigma": provenance(paths[-1])["sigma"]}
        changed = share_changed(tokens[0], tokens[1:])
        rows += [
            known | row | {"tokens_changed": changed}
            for row in smoothing_rows(scores.samples, scores.own, counts, scores.groups)
        ]
    table = with_holm(pd.DataFrame(rows), "vs_clean_p")
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_smoothing(snakemake.output.plot, table)
