"""Compare every two classifiers of the main table on the same images."""

import pandas as pd
from job import job

from varc.metrics.holm import with_holm
from varc.metrics.paired import every_pair
from varc.metrics.robustness import is_right
from varc.metrics.tables import write_table
from varc.storage import read_parquet

CAPTION = (
    "difference: top-1 of a classifier minus that of `against`, on the same images, with its 95 % interval (Fay and "
    "Lumbard 2021), McNemar's exact p, and the same adjusted for the number of rows (Holm). gained, lost: images that "
    "the one alone, or the other alone, has right. Interval and p are of a row alone."
)

with job(snakemake) as log:
    rights: dict[str, dict[str, pd.Series]] = {}
    for (dataset, classifier), path in zip(snakemake.params.pairs, snakemake.input.predictions, strict=True):
        rights.setdefault(dataset, {})[classifier] = is_right(read_parquet(path).to_pandas())
    rows = [{"dataset": dataset, **row} for dataset, found in rights.items() for row in every_pair(found)]
    columns = ["dataset", "classifier", "against", "images", "difference", "low", "high", "p", "gained", "lost"]
    table = with_holm(pd.DataFrame(rows, columns=columns), "p")
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
