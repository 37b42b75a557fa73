"""Stop where images of a data set cannot be decoded, and name them all."""

import pandas as pd
from job import job

from varc.data.check import Unreadable, check_all
from varc.files import write_csv
from varc.storage import read_parquet

with job(snakemake) as log:
    images = len(read_parquet(snakemake.input.manifest, ["image_id"]))
    tables = [pd.read_csv(path, keep_default_na=False) for path in snakemake.input.shards]
    check_all(snakemake.wildcards.dataset, images, [Unreadable(*row) for table in tables for row in table.to_numpy()])
    write_csv(snakemake.output.csv, pd.DataFrame({"images": [images], "unreadable": [0]}))
    log.info("all %d images can be decoded", images)
