"""Plan a run: what its jobs will take, from the config and a device's rate."""

import math
from pathlib import Path

import pandas as pd
from job import job
from shapes import model_shape

from varc.baselines.costs import last_stage_cost
from varc.metrics.tables import write_table
from varc.planning import Counted, Work, given, measured, number_of_shards, of_rival, plan_rows, too_large
from varc.seal import read_json
from varc.storage import provenance

CAPTION = (
    "What the run will take, before it: encoder and tokens, each stage's scores, fine-tuning; works that classifiers "
    "share are counted for each, and once for all. Not planned: other training, explanations, incremental learning. "
    "gflops: as fvcore counts, without scores that are there already; an adaptive stage at its most, or at the "
    "survival that the config says; of fine-tuning 3 "
    "passes for each label (forward and backward) and 1 of CCA's reference, as if none came from its cache. "
    "device_hours: computation alone. minutes_per_job, memory_bytes: of the longest and of the largest job, no memory "
    "of rivals; of fine-tuning as its processes share it, and what each takes on its device. "
    "images_per_job: that make the longest job 20 minutes. parquet_bytes: on disk."
)
CHANGED = (
    "{name}: files in {root} have changed since {path} was made: all that was made from this data set is made again, "
    "since shards are equal parts of the list; the log of manifest will say which images are more or less"
)


def image_counts():
    """Images of each data set: what the config tells, else what the manifest lists."""
    counts = dict(snakemake.params.images)
    unknown = [name for name, count in counts.items() if count is None]
    for name, path in zip(unknown, snakemake.input.manifests, strict=True):
        counts[name] = provenance(path)["images"]
    return counts


def changed_data():
    """A line for each data set whose files are no longer those that its manifest was made from."""
    for name, (path, stamp, root) in snakemake.params.listed.items():
        if stamp and Path(path).exists() and provenance(path)["stamp"] != stamp:
            yield CHANGED.format(name=name, root=root, path=path)


with job(snakemake) as log:
    params = snakemake.params
    device, memory, rate = "given", None, params.gflops_per_second and given(params.gflops_per_second)
    if rate is None:
        record = read_json(snakemake.input.rates)
        device, memory, rate = record["device"], record.get("gpu_memory_bytes"), measured(record)
    works = [Work(*work) for work in params.works]
    shapes = {name: model_shape(shape) for name, shape in params.shapes.items()}
    shapes |= {name: Counted(*last_stage_cost(stage)[:2]) for name, stage in params.rivals.items()}
    images = image_counts()
    shards = params.shards
    if shards == "auto":
        own = [work for work in works if not of_rival(work) or device != "given"]
        shards = number_of_shards(own, shapes, images, rate)
    table = pd.DataFrame(plan_rows(works, shapes, images, shards, rate))
    table = table.astype(dict.fromkeys(("images_per_job", "memory_bytes"), "Int64"))  # some are empty
    table.insert(3, "device", device)
    write_table(table, snakemake.output.csv, snakemake.output.markdown, CAPTION)
    print(Path(snakemake.output.markdown).read_text())
    for line in too_large(works, shapes, memory or math.inf):
        log.warning(line)
    for line in changed_data():
        log.warning(line)
    log.info("%d shards; %.3g device-hours in all", shards, table["device_hours"].iloc[-1])
