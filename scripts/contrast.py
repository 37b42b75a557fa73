"""Make the table of contrasts: how well maps find what truly tells two classes apart, method by method."""

from job import job

from varc.metrics.contrast import contrast_table
from varc.metrics.plots import plot_contrast
from varc.metrics.tables import write_table
from varc.storage import provenance, read_parquet

CAPTION = (
    "How well maps find the pixels by which the picture truly differs from one of the other class (target and "
    "against, by pairs). auc: the chance that a pixel of the difference has a higher value than another one, ties a "
    "half; iou: intersection over union of the difference and as many of the highest pixels; pointing: the highest "
    "pixel lies in the difference; of ties the expected value. Maps are enlarged bilinearly to the picture's pixels. "
    "Means over images; 95 % bootstrap intervals over images; where unit is group, the wider one of these and of the "
    "groups' sign-flip test. split: all images, those that lack the ink that tells (absent), those that have it "
    "(present). sign: the map as it is, or its absolute values. vs_edge, vs_tmi: paired with the absolute values of "
    "these maps, with p of the paired t test (the larger one with groups), and p adjusted for the number of rows of "
    "the measure (Holm). mean_mask knows the pair: the mean difference of the same two classes in other groups, a "
    "ceiling and no method. A budget stands in the method as -b<images>. passes, gflops (fvcore, forward only) and "
    "seconds: to make one map."
)

with job(snakemake) as log:
    files = snakemake.input.localised
    parts = zip(snakemake.params.rows, files, strict=True)
    table = contrast_table(
        [(names, read_parquet(path).to_pandas(), provenance(path)["costs"]) for names, path in parts]
    )
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_contrast(snakemake.output.plot, table)
    for row in table[table["split"] == "all"].itertuples():
        log.info("%s %s %s %s: %.4f", row.model, row.method, row.sign, row.measure, row.mean)
