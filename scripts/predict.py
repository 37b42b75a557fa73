"""Predict the class of each image from the scores of all stages."""

import pyarrow as pa
from job import job

from varc.freshness import check_agree, check_expected, models_of
from varc.scoring.adaptive import predict_open, read_adaptive
from varc.scoring.funnel import over_samples, predict, read_label_of, read_scores
from varc.scoring.scale_weights import read_scale_weights
from varc.storage import (
    check_images,
    devices,
    image_ids,
    predictions_schema,
    prefix_seconds,
    read_parquet,
    scales_in,
    shard_bounds,
    total_seconds,
    write_parquet,
)


def predict_shard(shard, labels):
    """The predictions of a shard's images, and their image_ids."""
    paths = [files[shard::shards] for files in stage_files]
    known = list(zip(paths, snakemake.params.scales, weights, snakemake.params.combines, strict=True))
    closed = known[:-1] if snakemake.params.open else known
    stages = [over_samples([read_scores(path, k, w) for path in stage], how) for stage, k, w, how in closed]
    if snakemake.params.open:
        result, class_ids, ids = read_adaptive(*paths[-1])
        return predict_open(result, class_ids, ids, labels, label_of, stages), ids
    return predict(stages, labels, label_of), stages[-1].image_ids


with job(snakemake) as log:
    listed = read_parquet(snakemake.input.manifest)
    labels, listed_ids = listed["label"].to_numpy(), image_ids(listed)
    label_of = read_label_of(snakemake.input.manifest)
    samples = snakemake.params.samples
    stage_files = [snakemake.input[f"stage{i + 1}"] for i in range(len(samples))]
    shards = len(stage_files[0]) // samples[0]
    scores = [path for files in stage_files for path in files]
    encoder = [*snakemake.input.features, *snakemake.input.tokens]
    check_agree(scores)
    check_expected(scores, snakemake.params.expected)
    check_agree([scores[0], *encoder], ["vqvae_sha256"])
    models = models_of(scores[0])
    weights = [k and read_scale_weights(snakemake.input.scale_weights, models, k) for k in snakemake.params.scales]
    schema = predictions_schema(len(samples))
    tables = []
    for shard in range(shards):
        first, end = shard_bounds(len(labels), shard, shards)
        found, ids = predict_shard(shard, labels[first:end])
        check_images(stage_files[-1][shard], ids, snakemake.input.manifest, listed_ids[first:end])
        tables.append(pa.table(found, schema=schema))
    predictions = pa.concat_tables(tables)
    seconds, read_seconds = ({"encoder": total_seconds(encoder)} if encoder else {}), 0.0
    for i, (files, scales) in enumerate(zip(stage_files, snakemake.params.scales, strict=True)):
        before = {path for earlier in stage_files[:i] for path in earlier}  # clean scores that this stage reads again
        own = [path for path in files if path not in before]
        longer = [path for path in own if scales not in (None, scales_in(path))]
        seconds[f"stage{i + 1}"] = total_seconds([path for path in own if path not in longer])
        read_seconds += prefix_seconds(longer, scales, snakemake.params.patch_nums)
    record = {
        "images": len(predictions),
        "seconds": seconds,
        "read_seconds": read_seconds,
        "device": devices(stage_files[-1]),
        **models,
    }
    write_parquet(
        snakemake.output.predictions, dict(zip(schema.names, predictions.columns, strict=True)), schema, record
    )
