"""Make the table of pruning recall from full scores of all classes."""

import numpy as np
import pandas as pd
from job import job
from shapes import model_configs

from varc.metrics.flops import model_costs
from varc.metrics.plots import plot_pruning
from varc.metrics.tables import pruning_rows, write_table
from varc.scoring.funnel import as_labels, read_label_of, read_per_scale, read_scores
from varc.storage import read_parquet

CAPTION = (
    "recall: share of images whose label is among the best k classes after the first scales. gflops: per image, "
    "fvcore's convention, of the funnel with that choice: all classes at `scales` scales, then the best k at all."
)

with job(snakemake) as log:
    params = snakemake.params
    configs = {name: model_configs(shape) for name, shape in params.shapes.items()}
    costs = {name: model_costs(*pair) for name, pair in configs.items()}
    shards = len(snakemake.input.scores) // len(params.pairs)
    rows = []
    for i, (dataset, model) in enumerate(params.pairs):
        files = snakemake.input.scores[i * shards : (i + 1) * shards]
        per_scale = np.concatenate([read_per_scale(path) for path in files])
        class_ids = read_scores(files[0]).class_ids[0]
        as_label = as_labels(class_ids, read_label_of(snakemake.input.manifests[i]))
        labels = read_parquet(snakemake.input.manifests[i])["label"].to_numpy()
        found = pruning_rows(per_scale, as_label, labels, costs[model])
        rows += [{"dataset": dataset, "model": model, **row} for row in found]
    table = pd.DataFrame(rows)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_pruning(snakemake.output.plot, table)
