"""Count the GFLOPs of each classifier on each data set, on the real modules, without weights or images."""

import pandas as pd
from job import job
from shapes import model_configs

from varc.data.classes import data_set_classes
from varc.metrics.flops import model_costs
from varc.metrics.tables import gflops_rows, write_table

CAPTION = (
    "GFLOPs per image in fvcore's convention (one multiply-add is 1; attention products do not count and stand in "
    "their own column). gflops: nominal, every pass of every sample. gflops_computed: without the clean scores that "
    "a smoothed stage reads from an earlier one. passes: forward passes, one class and sample each."
)

with job(snakemake) as log:
    params = snakemake.params
    costs = {name: model_costs(*model_configs(entry)) for name, entry in params.architectures.items()}
    rows = []
    for dataset, classifier in params.pairs:
        entry = params.classifiers[classifier]
        patch_nums = params.architectures[entry["model"]]["vqvae"]["patch_nums"]
        classes = len(data_set_classes(params.datasets[dataset]))
        rows += gflops_rows(dataset, classes, classifier, entry["funnel"], patch_nums, costs[entry["model"]])
    table = pd.DataFrame(rows).astype({"tokens": "Int64", "samples": "Int64"})
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
