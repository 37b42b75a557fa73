"""Test which classifiers lose more under shifts than others, pair by pair, on the same images."""

import pandas as pd
from job import job

from varc.metrics.holm import with_holm
from varc.metrics.plots import plot_robustness
from varc.metrics.robustness import PAIRED_COLUMNS, Resampled, paired_rows, read_right_answers
from varc.metrics.tables import write_table

CAPTION = (
    "How much more top-1 a classifier loses under a shift than `against`, on the same images: a mean over severities, "
    "and for `all` over shifts. drop: top-1 without a shift minus that under it; relative_drop: as a share of top-1 "
    "without a shift. Above 0: the classifier is less robust. 95 % intervals resample images 10,000 times, an image "
    "together with all its shifted versions, and two images more, of which each classifier loses another (Bonett and "
    "Price 2012); p: of no difference, by the normal distribution. Intervals and p are of a row alone; p_holm is "
    "adjusted for the number of rows."
)

with job(snakemake) as log:
    rights = read_right_answers(snakemake.params.runs, snakemake.input.predictions)
    rows = [row for dataset, found in rights.items() for row in paired_rows(dataset, Resampled(found))]
    table = pd.DataFrame(rows, columns=PAIRED_COLUMNS)
    table = with_holm(table, "drop_difference_p", "relative_drop_difference_p")
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_robustness(snakemake.output.plot, pd.read_csv(snakemake.input.table))
