"""Make the table and the picture of confusions: which classes are taken for which."""

import pandas as pd
from job import job

from varc.data.classes import data_set_classes
from varc.metrics.confusion import COLUMNS, confusion, confusion_rows, plot_confusion
from varc.metrics.tables import write_table
from varc.scoring.funnel import read_label_of
from varc.storage import read_parquet

CAPTION = (
    "Every two classes that are confused: images, how many of the label are taken for the prediction; share: of the "
    "label's images. Pairs without images are left out."
)

with job(snakemake) as log:
    params, rows, panels = snakemake.params, [], []
    files = zip(params.pairs, snakemake.input.predictions, snakemake.input.manifests, strict=True)
    for (dataset, classifier), path, manifest in files:
        names = {entry.class_id: entry.name for entry in data_set_classes(params.datasets[dataset])}
        found = confusion(read_parquet(path).to_pandas(), read_label_of(manifest))
        rows += [{"dataset": dataset, "classifier": classifier, **row} for row in confusion_rows(found, names)]
        panels.append((f"{classifier} on {dataset}", found, names))
    table = pd.DataFrame(rows, columns=["dataset", "classifier", *COLUMNS])
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_confusion(snakemake.output.plot, panels)
