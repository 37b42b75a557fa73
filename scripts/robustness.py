"""Make the table of all data sets, with the paper's figures beside ours."""

import pandas as pd
from job import job

from varc.metrics.tables import with_published, write_table

CAPTION = (
    "Top-1 on each data set with Wilson's 95 % interval. left_out: images of the source that do not belong to the data "
    "set (see datasets/<dataset>_left_out.csv). paper_top1: the published figure, where there is one."
)

with job(snakemake) as log:
    files = zip(snakemake.params.datasets, snakemake.input.left_out, strict=True)
    left_out = {dataset: len(pd.read_csv(path)) for dataset, path in files}
    table = pd.read_csv(snakemake.input.accuracy)[
        ["dataset", "classifier", "model", "images", "top1", "top1_low", "top1_high"]
    ]
    table.insert(4, "left_out", table["dataset"].map(left_out))
    table = with_published(table, snakemake.input.get("published") or None, {"top1": "paper_top1"})
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
