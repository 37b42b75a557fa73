"""Make the table of pruning recall from scores of all classes."""

from itertools import islice

import pandas as pd
from job import job
from shapes import model_configs

from varc.baselines.costs import rival_step_costs, rival_step_tokens
from varc.costs.counting import Cost, ModelCosts
from varc.costs.models import model_costs
from varc.metrics.plots import plot_pruning
from varc.metrics.tables import pruning_rows, write_table
from varc.models.scales import tokens_at
from varc.scoring.combining import combined
from varc.scoring.labelled import read_labelled_scores

CAPTION = (
    "recall: share of images whose label is among the best k classes after the first scales, with a 95 % interval "
    "over images (Wilson's) or groups (unit). tokens: of an image, up to the end of the last of these scales. gflops: "
    "per image, fvcore's convention, of the funnel with that choice: all classes at `scales` scales, then the best k "
    "at all. Rivals (model: the classifier) have one scale, their first stage, or where that is one order with `chunk` "
    "the chunks of it."
)


def recall_rows(manifest, files, costs, tokens=None, combine=None):
    """The rows of a model or rival on one data set, from the scores of all shards; combine: of a rival without chunks,
    how the scores of all samples become one."""
    scores = read_labelled_scores(manifest, files)
    per_scale = combined(scores.samples, combine)[..., None] if combine else scores.per_scale
    return pruning_rows(per_scale, scores.class_labels, scores.labels, costs, scores.groups, tokens)


with job(snakemake) as log:
    params, files = snakemake.params, snakemake.input
    rivals = params.rivals
    shards = (len(files.scores) + len(files.rival_scores)) // (len(params.pairs) + sum(r["samples"] for r in rivals))
    configs = {name: model_configs(shape) for name, shape in params.shapes.items()}
    costs = {name: model_costs(*pair) for name, pair in configs.items()}
    rows = []
    for i, (dataset, model) in enumerate(params.pairs):
        scores, patch_nums = files.scores[i * shards : (i + 1) * shards], configs[model][1].patch_nums
        ends = [tokens_at(patch_nums, k) for k in range(1, len(patch_nums) + 1)]
        found = recall_rows(files.manifests[i], scores, costs[model], ends)
        rows += [{"dataset": dataset, "model": model, **row} for row in found]
    if rivals:
        gflops = pd.read_csv(files.gflops).set_index(["dataset", "classifier", "stage"])
    rival_scores = iter(files.rival_scores)
    for manifest, rival in zip(files.rival_manifests, rivals, strict=True):
        dataset, name, steps = rival["dataset"], rival["classifier"], rival["steps"]
        scores = list(islice(rival_scores, rival["samples"] * shards))
        if steps:
            found = recall_rows(manifest, scores, rival_step_costs(steps), rival_step_tokens(steps))
        else:
            stage = gflops.loc[(dataset, name, "stage1")]
            only = ModelCosts(Cost(0.0, 0.0), {1: Cost(stage["gflops"] / stage["classes"], 0.0)})
            found = recall_rows(manifest, scores, only, combine=rival["combine"])
        rows += [{"dataset": dataset, "model": name, **row} for row in found]
    table = pd.DataFrame(rows).astype({"tokens": "Int64"})
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_pruning(snakemake.output.plot, table)
