"""Make the table of classes: how often each is known, and what it is taken for."""

import pandas as pd
from job import job

from varc.data.classes import data_set_classes
from varc.metrics.per_class import per_class_rows
from varc.metrics.tables import write_table
from varc.scoring.funnel import read_label_of
from varc.storage import read_groups, read_parquet

CAPTION = (
    "Top-1 of the images of each class, with a 95 % interval over images (Wilson's) or groups (Korn and Graubard's), "
    "as unit says. predicted: how many images were taken for the class, rightly or not. taken_for, taken_for_images: "
    "the other class that most images of the class were taken for, and how many. With this many rows some are low or "
    "high by chance: the interval is that of a row alone."
)

with job(snakemake) as log:
    params, rows = snakemake.params, []
    files = zip(params.pairs, snakemake.input.predictions, snakemake.input.manifests, strict=True)
    for (dataset, classifier), path, manifest in files:
        predictions = read_parquet(path).to_pandas()
        names = {entry.class_id: entry.name for entry in data_set_classes(params.datasets[dataset])}
        groups = read_groups(manifest, predictions["image_id"])
        found = per_class_rows(predictions, names, read_label_of(manifest), groups)
        rows += [{"dataset": dataset, "classifier": classifier, **row} for row in found]
    table = pd.DataFrame(rows).astype({"taken_for_images": "Int64"})
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
