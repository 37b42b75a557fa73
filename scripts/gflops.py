"""Count the GFLOPs of each classifier on each data set, on the real modules, without weights or images."""

import pandas as pd
from job import job
from shapes import model_configs

from varc.data.classes import data_set_classes
from varc.metrics.flops import model_costs
from varc.metrics.tables import gflops_rows, with_published, write_table

CAPTION = (
    "GFLOPs per image in fvcore's convention (one multiply-add is 1; attention products do not count and stand in "
    "their own column). gflops: nominal, every pass of every sample. gflops_computed: without the clean scores that "
    "a smoothed stage reads from an earlier one. passes: forward passes, one class and sample each."
)

with job(snakemake) as log:
    params = snakemake.params
    configs = {name: model_configs(shape) for name, shape in params.shapes.items()}
    costs = {name: model_costs(*pair) for name, pair in configs.items()}
    rows = []
    for dataset, classifier in params.pairs:
        entry = params.classifiers[classifier]
        patch_nums = configs[entry["model"]][0].patch_nums
        classes = len(data_set_classes(params.datasets[dataset]))
        rows += gflops_rows(dataset, classes, classifier, entry["funnel"], patch_nums, costs[entry["model"]])
    table = pd.DataFrame(rows).astype({"tokens": "Int64", "samples": "Int64"})
    published = snakemake.input.get("published") or None
    table = with_published(table, published, {"gflops": "paper_gflops"})
    if published:
        table.loc[table["stage"] != "total", "paper_gflops"] = None
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
