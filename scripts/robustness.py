"""Make the table of all data sets, with the paper's figures beside ours, and of all shifts."""

import pandas as pd
from job import job

from varc.metrics.robustness import read_resampled, robustness_rows
from varc.metrics.tables import with_published, write_table

CAPTION = (
    "Top-1 on each data set with a 95 % interval over images (Wilson's) or groups, as unit says. left_out: images of "
    "the source that do not belong to the data set (see datasets/<dataset>_left_out.csv). paper_top1: the published "
    "figure, where there is one."
)
SHIFTED_CAPTION = (
    " shift, severity: of images shifted by `shifts`; `mean` is over severities, and of shift `all` over shifts too, "
    "with a 95 % interval that resamples images, or groups. relative_drop: 1 - top1 / the same classifier's top1 "
    "without a shift, with an interval by resampling too."
)

with job(snakemake) as log:
    files = zip(snakemake.params.datasets, snakemake.input.left_out, strict=True)
    left_out = {dataset: (pd.read_csv(path)["kind"] == "image").sum() for dataset, path in files}
    accuracy = pd.read_csv(snakemake.input.accuracy)
    models = accuracy.set_index("classifier")["model"].to_dict()
    table = accuracy[accuracy["dataset"].isin(left_out)][
        ["dataset", "classifier", "model", "images", "top1", "top1_low", "top1_high", "unit"]
    ]
    table = with_published(table, snakemake.input.get("published") or None, {"top1": "paper_top1"})
    inputs = snakemake.input
    resampled = read_resampled(snakemake.params.runs, inputs.predictions, inputs.manifests)
    rows = [row for dataset, found in resampled.items() for row in robustness_rows(dataset, found)]
    if rows:
        shifted = pd.DataFrame(rows).assign(model=lambda table: table["classifier"].map(models))
        table = pd.concat([table, shifted])
        table = table[["dataset", "shift", "severity", *table.columns.drop(["dataset", "shift", "severity"])]]
    table.insert(table.columns.get_loc("top1"), "left_out", table["dataset"].map(left_out))
    caption = CAPTION + (SHIFTED_CAPTION if rows else "")
    write_table(table, snakemake.output.csv, snakemake.output.markdown, caption)
