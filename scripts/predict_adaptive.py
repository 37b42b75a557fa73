"""Predict the class of each image from the scores of an adaptive funnel."""

import pyarrow as pa
from job import job

from varc.scoring.adaptive import predict_adaptive, read_adaptive
from varc.scoring.funnel import read_label_of
from varc.storage import concat_ids, devices, predictions_schema, read_parquet, total_seconds, write_parquet

with job(snakemake) as log:
    labels = read_parquet(snakemake.input.manifest)["label"].to_numpy()
    result, class_ids = read_adaptive(snakemake.input.scores)
    ids = concat_ids(snakemake.input.features)
    schema = predictions_schema(1)
    label_of = read_label_of(snakemake.input.manifest)
    predictions = pa.table(predict_adaptive(result, class_ids, ids, labels, label_of), schema=schema)
    seconds = {
        "encoder": total_seconds([*snakemake.input.features, *snakemake.input.tokens]),
        "stage1": total_seconds(snakemake.input.scores),
    }
    record = {"images": len(predictions), "seconds": seconds, "device": devices(snakemake.input.scores)}
    columns = dict(zip(schema.names, predictions.columns, strict=True))
    write_parquet(snakemake.output.predictions, columns, schema, record)
