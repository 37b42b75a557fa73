"""Make the table of pruning recall from scores of all classes."""

import numpy as np
import pandas as pd
from job import job
from shapes import model_configs

from varc.costs.counting import Cost
from varc.costs.models import ModelCosts, model_costs
from varc.freshness import check_agree, check_fresh
from varc.metrics.plots import plot_pruning
from varc.metrics.tables import pruning_rows, write_table
from varc.scoring.funnel import as_labels, read_label_of, read_per_scale, read_scores
from varc.storage import read_parquet

CAPTION = (
    "recall: share of images whose label is among the best k classes after the first scales. gflops: per image, "
    "fvcore's convention, of the funnel with that choice: all classes at `scales` scales, then the best k at all. "
    "Rivals (model: the classifier) have one scale, their first stage."
)


def recall_rows(manifest, files, costs):
    """The rows of one model on one data set, from the scores of all shards."""
    check_agree(files)
    check_fresh(files)
    per_scale = np.concatenate([read_per_scale(path) for path in files])
    class_ids = as_labels(read_scores(files[0]).class_ids[0], read_label_of(manifest))
    return pruning_rows(per_scale, class_ids, read_parquet(manifest)["label"].to_numpy(), costs)


with job(snakemake) as log:
    params, files = snakemake.params, snakemake.input
    shards = (len(files.scores) + len(files.rival_scores)) // (len(params.pairs) + len(params.rivals))
    configs = {name: model_configs(shape) for name, shape in params.shapes.items()}
    costs = {name: model_costs(*pair) for name, pair in configs.items()}
    rows = []
    for i, (dataset, model) in enumerate(params.pairs):
        scores = files.scores[i * shards : (i + 1) * shards]
        found = recall_rows(files.manifests[i], scores, costs[model])
        rows += [{"dataset": dataset, "model": model, **row} for row in found]
    if params.rivals:
        gflops = pd.read_csv(files.gflops).set_index(["dataset", "classifier", "stage"])
    for i, (dataset, name) in enumerate(params.rivals):
        stage = gflops.loc[(dataset, name, "stage1")]
        one_class = Cost(stage["gflops"] / stage["classes"], 0.0)
        scores = files.rival_scores[i * shards : (i + 1) * shards]
        found = recall_rows(files.rival_manifests[i], scores, ModelCosts(Cost(0.0, 0.0), {1: one_class}))
        rows += [{"dataset": dataset, "model": name, **row} for row in found]
    table = pd.DataFrame(rows)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_pruning(snakemake.output.plot, table)
