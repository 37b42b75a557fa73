"""Count the GFLOPs of each classifier on each data set, on the real modules, without weights or images."""

import pandas as pd
from job import job
from shapes import model_configs

from varc.baselines.costs import rival_step_costs, shaped_family, stage_costs
from varc.costs.models import model_costs
from varc.data.classes import data_set_classes
from varc.metrics.tables import (
    adaptive_gflops_rows,
    baseline_gflops_rows,
    certified_gflops_rows,
    gflops_rows,
    with_published,
    write_table,
)
from varc.scoring.adaptive import read_adaptive

CAPTION = (
    "GFLOPs per image in fvcore's convention (one multiply-add is 1; attention products do not count and stand in "
    "their own column). gflops: nominal, every pass of every sample. gflops_computed: without the scores that are read "
    "from others: clean ones of a smoothed stage from an earlier one, and those of all classes from those at more "
    "scales. passes: forward passes, one class and sample each."
)


with job(snakemake) as log:
    params = snakemake.params
    configs = {name: model_configs(shape) for name, shape in params.shapes.items()}
    costs = {name: model_costs(*pair) for name, pair in configs.items()}
    rows, counted, open_scores = [], {}, list(snakemake.input.get("open_scores") or [])
    for (dataset, classifier), funnel in zip(params.pairs, params.funnels, strict=True):
        classes = len(data_set_classes(params.datasets[dataset]))
        entry, result = params.rivals.get(classifier), None
        if entry and "stages" in entry:
            if (classifier, classes) not in counted:  # counting takes seconds, and a run may have a hundred data sets
                baseline = params.baselines[entry["baseline"]]
                training = baseline.get("train") and params.training[baseline["train"]["data"]]
                kind, shape, known = shaped_family(baseline, training)
                counted[classifier, classes] = stage_costs(kind, shape, known, entry["stages"], classes)
            rows += baseline_gflops_rows(dataset, classes, classifier, counted[classifier, classes])
            continue
        own = rival_step_costs(entry["steps"]) if entry else costs[params.models[classifier]]
        if "open" in funnel[-1]:
            files, open_scores = open_scores[: params.shards], open_scores[params.shards :]
            result, _, _ = read_adaptive(*files)
        if funnel[-1].get("open") in ("score_adaptive", "score_baseline_adaptive"):
            rows += adaptive_gflops_rows(dataset, classifier, result, own, encoder_apart=not entry)
            continue
        patch_nums = configs[params.models[classifier]][0].patch_nums
        if result:
            rows += certified_gflops_rows(dataset, classes, classifier, funnel[0], result, patch_nums, own)
        else:
            rows += gflops_rows(dataset, classes, classifier, funnel, patch_nums, own)
    table = pd.DataFrame(rows).astype({"tokens": "Int64", "samples": "Int64", "passes": "float64"})
    published = snakemake.input.get("published") or None
    table = with_published(table, published, {"gflops": "paper_gflops"})
    if "paper_gflops" in table:
        table.loc[table["stage"] != "total", "paper_gflops"] = None
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
