"""Test which classifiers lose more under shifts than others, pair by pair, on the same images."""

import pandas as pd
from job import job

from varc.metrics.holm import with_holm
from varc.metrics.plots import plot_robustness
from varc.metrics.robustness import PAIRED_COLUMNS, paired_rows, read_resampled
from varc.metrics.tables import write_table

CAPTION = (
    "How much more top-1 a classifier loses under a shift than `against`, on the same images: a mean over severities, "
    "and for `all` over shifts. drop: top-1 without a shift minus that under it; relative_drop: as a share of top-1 "
    "without a shift. Above 0: the classifier is less robust. 95 % intervals resample images 10,000 times, an image "
    "together with all its shifted versions, and two images more, of which each classifier loses another (Bonett and "
    "Price 2012); p: of no difference, by the normal distribution. Where unit is group, the sign-flip test of groups "
    "gives an interval and a p as well, and the wider interval and the larger p stand here. Intervals and p are of a "
    "row alone; p_holm is adjusted for the number of rows."
)

with job(snakemake) as log:
    inputs = snakemake.input
    resampled = read_resampled(snakemake.params.runs, inputs.predictions, inputs.manifests)
    rows = [row for dataset, found in resampled.items() for row in paired_rows(dataset, found)]
    table = pd.DataFrame(rows, columns=PAIRED_COLUMNS)
    table = with_holm(table, "drop_difference_p", "relative_drop_difference_p")
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_robustness(snakemake.output.plot, pd.read_csv(snakemake.input.table))
