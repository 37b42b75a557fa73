"""Make the table of class-incremental learning from all runs."""

import pandas as pd
from job import job

from varc.metrics.incremental import accuracy_matrix, incremental_rows, with_paper
from varc.metrics.plots import plot_incremental
from varc.metrics.tables import write_table
from varc.storage import read_parquet

CAPTION = (
    "Classes come task by task, without replay; each image is classified among all classes seen so far. measure: "
    "accuracy after a task on a task, its average over the tasks so far, and forgetting (best accuracy ever minus "
    "the final one, mean over the earlier tasks). Means over seeds, each with a class order of its own, with 95 % "
    "intervals (Student's t, cut at 0 and 100 %). paper_average: 10 ImageNet classes in 2 tasks, another task."
)

with job(snakemake) as log:
    rows = []
    for i, spec in enumerate(snakemake.params.rows):
        matrices = [accuracy_matrix(read_parquet(path).to_pandas()) for path in snakemake.input[f"runs{i}"]]
        rows += [{**spec, **row} for row in incremental_rows(matrices)]
    table = with_paper(pd.DataFrame(rows), snakemake.input.published or None)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_incremental(snakemake.output.plot, table)
