"""List the images of a data set, with their labels."""

import pandas as pd
from job import job

from varc.data.classes import data_set_classes, label_of
from varc.data.manifest import LeftOut, columns, manifest
from varc.files import whole
from varc.storage import MANIFEST, write_parquet

with job(snakemake) as log:
    spec = snakemake.params.dataset
    classes = data_set_classes(spec)
    listed, left_out = manifest(spec, classes)
    record = {"dataset": spec, "stamp": snakemake.params.stamp, "images": len(listed), "left_out": len(left_out)}
    record["label_of"] = {str(class_id): label for class_id, label in label_of(spec, classes).items()}
    with whole(snakemake.output.left_out) as temporary:
        pd.DataFrame(left_out, columns=LeftOut._fields).to_csv(temporary, index=False)
    write_parquet(snakemake.output.manifest, columns(listed), MANIFEST, record)
    log.info("%d images, %d left out", len(listed), len(left_out))
