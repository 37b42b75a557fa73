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


def recall_rows(manifest, files, costs, tokens):
    """The rows of a model, or of a rival whose scores are by chunks, from the scores of all shards."""
    scores = read_labelled_scores(manifest, files)
    return pruning_rows(scores.per_scale, scores.class_labels, scores.labels, costs, scores.groups, tokens)


def whole_rows(manifest, files, stage, combine):
    """The rows of a rival's first stage, whose samples become one by `combine`; stage: its row of gflops.csv."""
    scores = read_labelled_scores(manifest, files)
    only = ModelCosts(Cost(0.0, 0.0), {1: Cost(stage["gflops"] / stage["classes"], 0.0)})
    whole = combined(scores.samples, combine)[..., None]
    return pruning_rows(whole, scores.class_labels, scores.labels, only, scores.groups)


with job(snakemake) as log:
    params, files = snakemake.params, snakemake.input
    rivals = params.rivals
    shards = (len(files.scores) + len(files.rival_scores)) // (len(params.pairs) + sum(r["samples"] for r in rivals))
    configs = {name: model_configs(shape) for name, shape in params.shapes.items()}
    rows = []
    for i, (dataset, model) in enumerate(params.pairs):
        scores, patch_nums = files.scores[i * shards : (i + 1) * shards], configs[model][1].patch_nums
        ends = [tokens_at(patch_nums, k) for k in range(1, len(patch_nums) + 1)]
        found = recall_rows(files.manifests[i], scores, model_costs(*configs[model]), ends)
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
            found = whole_rows(manifest, scores, gflops.loc[(dataset, name, "stage1")], rival["combine"])
        rows += [{"dataset": dataset, "model": name, **row} for row in found]
    table = pd.DataFrame(rows).astype({"tokens": "Int64"})
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    plot_pruning(snakemake.output.plot, table)
