"""List the images of a data set, with their labels."""

import pandas as pd
from job import job

from varc.data.changes import changes, kept
from varc.data.classes import data_set_classes, folder_labels, label_of
from varc.data.manifest import LeftOut, columns, empty_classes, first_enlarged, manifest
from varc.files import write_csv
from varc.storage import MANIFEST, write_parquet

with job(snakemake) as log:
    spec = snakemake.params.dataset
    classes = data_set_classes(spec)
    listed, left_out = manifest(spec, classes, snakemake.resources.images or None)
    if changed := changes(snakemake.wildcards.dataset, snakemake.output.manifest, (row.image_id for row in listed)):
        log.warning(changed)
    if too_small := first_enlarged(spec, listed):
        log.warning(too_small)
    images, skipped = ([row for row in left_out if row.kind == kind] for kind in ("image", "unreadable"))
    record = {"dataset": spec, "stamp": snakemake.params.stamp, "images": len(listed), "left_out": len(images)}
    record["label_of"] = {str(class_id): label for class_id, label in label_of(spec, classes).items()}
    write_csv(snakemake.output.left_out, pd.DataFrame(left_out, columns=LeftOut._fields))
    for path in (snakemake.output.manifest, kept(snakemake.output.manifest)):
        write_parquet(path, columns(listed), MANIFEST, record)
    log.info("%d images, %d left out", len(listed), len(images))
    if files := len(left_out) - len(images) - len(skipped):
        log.info("%d files are passed over; %s has each", files, snakemake.output.left_out)
    if skipped:
        log.warning("%d images cannot be read and are skipped; %s has each", len(skipped), snakemake.output.left_out)
    if empty := empty_classes(listed, folder_labels(spec, classes)):
        log.warning("%d of %d classes have no image, first %r", len(empty), len(classes), empty[0])
