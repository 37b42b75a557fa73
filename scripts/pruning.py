"""Make the table of pruning recall from scores of all classes."""

from itertools import islice

import pandas as pd
from job import job
from shapes import model_configs

from varc.costs.counting import Cost, ModelCosts
from varc.costs.models import model_costs
from varc.metrics.plots import plot_pruning
from varc.metrics.tables import pruning_rows, write_table
from varc.scoring.combining import combined
from varc.scoring.labelled import read_labelled_scores

CAPTION = (
    "recall: share of images whose label is among the best k classes after the first scales, with a 95 % interval "
    "over images (Wilson's) or groups (unit). gflops: per image, fvcore's convention, of the funnel with that choice: "
    "all classes at `scales` scales, then the best k at all. Rivals (model: the classifier) have one scale, their "
    "first stage."
)


def recall_rows(manifest, files, costs, combine=None):
    """The rows of one model on one data set, from the scores of all shards; combine: of a rival, how the scores of all
    samples become one."""
    scores = read_labelled_scores(manifest, files)
    per_scale = combined(scores.samples, combine)[..., None] if combine else scores.per_scale
    return pruning_rows(per_scale, scores.class_labels, scores.labels, costs, scores.groups)


with job(snakemake) as log:
    params, files = snakemake.params, snakemake.input
    shards = (len(files.scores) + len(files.rival_scores)) // (len(params.pairs) + sum(params.rival_samples))
    configs = {name: model_configs(shape) for name, shape in params.shapes.items()}
    costs = {name: model_costs(*pair) for name, pair in configs.items()}
    rows = []
    for i, (dataset, model) in enumerate(params.pairs):
        scores = files.scores[i * shards : (i + 1) * shards]
        found = recall_rows(files.manifests[i], scores, costs[model])
        rows += [{"dataset": dataset, "model": model, **row} for row in found]
    if params.rivals:
        gflops = pd.read_csv(files.gflops).set_index(["dataset", "classifier", "stage"])
    rival_scores = iter(files.rival_scores)
    for i, (dataset, name) in enumerate(params.rivals):
        stage = gflops.loc[(dataset, name, "stage1")]
        one_class = Cost(stage["gflops"] / stage["classes"], 0.0)
        scores = list(islice(rival_scores, params.rival_samples[i] * shards))
        only = ModelCosts(Cost(0.0, 0.0), {1: one_class})
        found = recall_rows(files.rival_manifests[i], scores, only, params.rival_combines[i])
        rows += [{"dataset": dataset, "model": name, **row} for row in found]
    table = pd.DataFrame(rows)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_pruning(snakemake.output.plot, table)
