"""Make the table of measured costs: device-seconds per stage and classifier."""

import pandas as pd
from job import job

from varc.metrics.tables import with_plan, write_table
from varc.storage import provenance

CAPTION = (
    "device_seconds: measured, summed over all shards, without the loading of models and images; encoder: features and "
    "tokens of all samples. A clean score that a stage reads from an earlier one is counted there, and scores of all "
    "classes that it reads from those at more scales where these are made; a stage that classifiers share is counted "
    "for each. gflops_per_second: gflops_computed (as fvcore counts) over these seconds. "
    "planned_seconds, of_plan: where a plan was made before, what it said, and the share of it that was taken."
)

with job(snakemake) as log:
    computed = pd.read_csv(snakemake.input.gflops).set_index(["dataset", "classifier", "stage"])["gflops_computed"]
    rows = []
    for (dataset, classifier), path in zip(snakemake.params.pairs, snakemake.input.predictions, strict=True):
        record = provenance(path)
        names = {"dataset": dataset, "classifier": classifier, "device": record["device"], "images": record["images"]}
        for stage, seconds in {**record["seconds"], "total": sum(record["seconds"].values())}.items():
            gflops = computed[dataset, classifier, stage] * record["images"]
            measured = {"device_seconds": seconds, "seconds_per_image": seconds / record["images"]}
            rows.append(
                {**names, "stage": stage, **measured, "gflops_per_second": gflops / seconds if seconds else None}
            )
    table = with_plan(pd.DataFrame(rows), snakemake.input.plan or None)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
