"""Score the images of a shard with a rival classifier: scores of their candidate classes."""

import numpy as np
from job import compute_device, job, measured
from kept import job_parts

from varc.baselines.family import Earlier, Images, family, settings
from varc.baselines.weights import read_baseline
from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import load_images, rows
from varc.freshness import check_made_with
from varc.scoring.funnel import all_classes, read_candidates, read_scores, select
from varc.storage import check_images, read_parquet, shard_bounds, write_scores

with job(snakemake) as log:
    device = compute_device(snakemake)
    params, entry, files = snakemake.params, snakemake.params.baseline, snakemake.input
    kind = family(entry["family"])
    scorings = [settings(kind.Scoring, scoring) for scoring in params.scorings]
    listed = rows(read_parquet(files.manifest))
    first, end = shard_bounds(len(listed), snakemake.params.shard, snakemake.resources.shards)
    listed = listed[first:end]
    ids = np.array([row.image_id for row in listed], dtype=object)
    weights = entry.get("checkpoint", files.get("weights"))
    weights = " and ".join(weights.values()) if isinstance(weights, dict) else weights
    model, card = read_baseline(kind, entry, files.get("weights"), params.public_sha256)
    pixels = load_images(params.dataset, listed, entry["shape"]["image_size"])
    candidates, earlier = all_classes(class_ids(data_set_classes(params.dataset)), len(ids), card), None
    if "candidates" in files.keys():  # noqa: SIM118 (no mapping)
        check_made_with([files.candidates], "weights_sha256", card["sha256"], weights)
        candidates = read_candidates(files.candidates, ids)
    if "earlier" in files.keys():  # noqa: SIM118
        check_made_with([files.earlier], "weights_sha256", card["sha256"], weights)
        before = read_scores(files.earlier)
        check_images(files.earlier, before.image_ids, files.manifest, ids)
        earlier = Earlier(scorings[-2], select(before, candidates).log_likelihood)
    parts = job_parts(snakemake, snakemake.output.scores, device, weights_sha256=card["sha256"])
    images = Images(pixels, ids, params.seed, parts)
    with measured(device, len(ids), log, parts=parts) as record:
        if params.sample:
            scores = kind.score_sample(model.to(device), images, candidates, settings(kind.Sample, params.sample))
        else:
            scores = kind.score(model.to(device), images, candidates, scorings[-1], earlier)
    record["weights_sha256"] = card["sha256"]
    write_scores(snakemake.output.scores, ids, candidates, scores[..., None], record)
    parts.remove()
