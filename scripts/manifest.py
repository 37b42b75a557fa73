"""List the images of a data set, with their labels."""

from job import job

from varc.data.classes import data_set_classes
from varc.data.manifest import columns, manifest
from varc.storage import MANIFEST, write_parquet

with job(snakemake) as log:
    spec = snakemake.params.dataset
    listed = manifest(spec, data_set_classes(spec))
    provenance = {"dataset": spec, "stamp": snakemake.params.stamp, "images": len(listed)}
    write_parquet(snakemake.output.manifest, columns(listed), MANIFEST, provenance)
    log.info("%d images", len(listed))
