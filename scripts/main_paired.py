"""Compare every two classifiers of the main table on the same images."""

import pandas as pd
from job import job

from varc.metrics.holm import with_holm
from varc.metrics.paired import Difference, every_pair
from varc.metrics.robustness import is_right
from varc.metrics.tables import write_table
from varc.storage import read_groups, read_parquet

CAPTION = (
    "difference: top-1 of a classifier minus that of `against`, on the same images, with its 95 % interval (Fay and "
    "Lumbard 2021), McNemar's exact p, and the same adjusted for the number of rows (Holm); where unit is group, with "
    "the interval and p of the groups' sign-flip test where these say less. gained, lost: images that the one alone, "
    "or the other alone, has right. Interval and p are of a row alone."
)

with job(snakemake) as log:
    rights: dict[str, dict[str, pd.Series]] = {}
    groups = {}
    files = zip(snakemake.params.pairs, snakemake.input.predictions, snakemake.input.manifests, strict=True)
    for (dataset, classifier), path, manifest in files:
        right = is_right(read_parquet(path).to_pandas())
        rights.setdefault(dataset, {})[classifier] = right
        groups[dataset] = read_groups(manifest, right.index)
    rows = [{"dataset": of, **row} for of, found in rights.items() for row in every_pair(found, groups[of])]
    columns = ["dataset", "classifier", "against", "images", "unit", *Difference._fields]
    table = with_holm(pd.DataFrame(rows, columns=columns), "p")
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
