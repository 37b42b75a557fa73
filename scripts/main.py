"""Make the main table: every family on the same images, with what it costs and what its training took."""

import pandas as pd
from job import job

from varc.metrics.plots import plot_main
from varc.metrics.tables import main_row, with_published, write_table
from varc.models.weights import read_card

PUBLISHED = "imagenet100"  # the data set of the paper's main table
CAPTION = (
    "Every classifier on the same images. top1 with a 95 % interval over images (Wilson's) or groups (unit); "
    "gflops_per_image: nominal, fvcore's convention; seconds_per_image: measured. parameters: of all models that "
    "score. training_images, training_seconds: what training saw and took, all stages of it. paper_top1, "
    "paper_gflops: the paper's row of that name on ImageNet-100, with large models: to compare the order, not the "
    "figures."
)

with job(snakemake) as log:
    accuracy = pd.read_csv(snakemake.input.accuracy).set_index(["dataset", "classifier"])
    rows = []
    for row in snakemake.params.rows:
        found = accuracy.loc[(row["dataset"], row["classifier"])]
        measured = ["images", "top1", "top1_low", "top1_high", "unit", "gflops_per_image", "seconds_per_image"]
        cards, before = ([read_card(card) for card in row[key]] for key in ("cards", "before"))
        names = {key: row[key] for key in ("dataset", "classifier", "family")}
        rows.append(names | {key: found[key] for key in measured} | main_row(cards, before))
    table = pd.DataFrame(rows).astype({"images": int, "parameters": "Int64", "training_images": "Int64"})
    own = table["dataset"]
    columns = {"top1": "paper_top1", "gflops": "paper_gflops"}
    table = with_published(table.assign(dataset=PUBLISHED), snakemake.input.get("published") or None, columns)
    write_table(table.assign(dataset=own), snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_main(snakemake.output.plot, table.assign(dataset=own))
