"""Predict the class of each image from the scores of an adaptive funnel."""

import pyarrow as pa
from job import job

from varc.freshness import check_agree, check_fresh, models_of
from varc.scoring.adaptive import predict_adaptive, read_adaptive
from varc.scoring.funnel import check_images, read_label_of
from varc.storage import (
    concat_ids,
    devices,
    image_ids,
    predictions_schema,
    read_parquet,
    total_seconds,
    write_parquet,
)

with job(snakemake) as log:
    files = snakemake.input
    check_agree(files.scores)
    check_agree([files.scores[0], *files.features, *files.tokens], ["vqvae_sha256"])
    check_fresh([*files.features, *files.tokens, *files.scores])
    listed = read_parquet(files.manifest)
    labels = listed["label"].to_numpy()
    result, class_ids = read_adaptive(files.scores)
    ids = concat_ids(files.features)
    check_images(files.features[0], ids, files.manifest, image_ids(listed))
    schema = predictions_schema(1)
    label_of = read_label_of(files.manifest)
    predictions = pa.table(predict_adaptive(result, class_ids, ids, labels, label_of), schema=schema)
    seconds = {
        "encoder": total_seconds([*files.features, *files.tokens]),
        "stage1": total_seconds(files.scores),
    }
    record = {"images": len(predictions), "seconds": seconds, "device": devices(files.scores)}
    record |= models_of(files.scores[0])
    columns = dict(zip(schema.names, predictions.columns, strict=True))
    write_parquet(snakemake.output.predictions, columns, schema, record)
