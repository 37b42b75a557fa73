"""Score the images of a shard with a rival's adaptive stage."""

from job import compute_device, job, measured
from kept import job_parts
from rivals import read_rival

from varc.baselines.family import settings
from varc.scoring.adaptive import as_json, read_thresholds
from varc.storage import check_apart, write_open_scores

with job(snakemake) as log:
    device = compute_device(snakemake)
    if calibration := snakemake.input.calibration:  # of the same source
        check_apart(calibration, snakemake.input.manifest)
    rival = read_rival(snakemake)
    made_with = {"weights_sha256": rival.sha256}
    thresholds = read_thresholds(snakemake.input.thresholds, made_with, rival.weights)
    parts = job_parts(snakemake, snakemake.output.scores, device, **made_with)
    images, adaptive = rival.images._replace(keep=parts), settings(rival.kind.Adaptive, snakemake.params.adaptive)
    with measured(device, len(images.image_ids), log, parts=parts) as record:
        result = rival.kind.score_adaptive(rival.model.to(device), images, rival.candidates, thresholds, adaptive)
    record |= {"thresholds": as_json(thresholds), **made_with}
    write_open_scores(snakemake.output.scores, images.image_ids, rival.candidates, result, record)
    parts.remove()
