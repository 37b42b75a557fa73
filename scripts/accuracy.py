"""Make the accuracy table from all predictions."""

import pandas as pd
from job import job

from varc.metrics.tables import accuracy_row, write_table
from varc.storage import provenance, read_groups, read_parquet

CAPTION = (
    "Top-1 and top-5 with 95 % intervals, over images (Wilson's) or over groups (Korn and Graubard's), as unit says; "
    "top-5 follows from the label's rank in the last stage that still had it. gflops_per_image: nominal, fvcore's "
    "convention, encoder included. seconds_per_image: measured, encoder, tokens and scores of all stages, without "
    "loading of models and images; of scores that are read from those at more scales, the share of their tokens. "
    "skipped: images that cannot be read, and are none of those that top-1 is over "
    "(skip_unreadable)."
)

with job(snakemake) as log:
    gflops = pd.read_csv(snakemake.input.gflops)
    totals = gflops[gflops["stage"] == "total"].set_index(["dataset", "classifier"])
    rows = []
    files = zip(snakemake.params.pairs, snakemake.input.predictions, snakemake.input.manifests, strict=True)
    for (dataset, classifier), path, manifest in files:
        total = totals.loc[(dataset, classifier)]
        record, predictions = provenance(path), read_parquet(path).to_pandas()
        groups = read_groups(manifest, predictions["image_id"])
        rows.append(
            {
                "dataset": dataset,
                "classifier": classifier,
                "model": snakemake.params.models[classifier],
                **accuracy_row(predictions, total["classes"], classifier in snakemake.params.open, groups),
                "gflops_per_image": total["gflops"],
                "seconds_per_image": (sum(record["seconds"].values()) + record["read_seconds"]) / record["images"],
            }
        )
    table = pd.DataFrame(rows)
    skipped = [(pd.read_csv(path)["kind"] == "unreadable").sum() for path in snakemake.input.left_out]
    table.insert(table.columns.get_loc("images") + 1, "skipped", skipped)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    for row in table.itertuples():
        log.info("%s %s: top-1 %.4f (%d images)", row.dataset, row.classifier, row.top1, row.images)
