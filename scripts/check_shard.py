"""Decode the images of a shard, and list those that cannot be."""

import time

import pandas as pd
from job import job

from varc.data.check import Unreadable, unreadable
from varc.data.manifest import rows
from varc.files import write_csv
from varc.storage import read_parquet, shard_bounds

with job(snakemake) as log:
    listed = rows(read_parquet(snakemake.input.manifest))
    first, end = shard_bounds(len(listed), snakemake.params.shard, snakemake.resources.shards)
    start = time.monotonic()
    found = unreadable(snakemake.params.dataset, ((row.image_id, row.path) for row in listed[first:end]))
    log.info("%d images in %.1f s, %d unreadable", end - first, time.monotonic() - start, len(found))
    write_csv(snakemake.output.csv, pd.DataFrame(found, columns=Unreadable._fields))
