"""Score the images of a shard with a rival classifier: scores of their candidate classes."""

from job import compute_device, job, measured
from kept import job_parts
from rivals import read_rival

from varc.baselines.family import Earlier, settings
from varc.freshness import check_made_with
from varc.scoring.funnel import read_candidates, read_scores, select
from varc.storage import check_images, write_scores

with job(snakemake) as log:
    device = compute_device(snakemake)
    params, files = snakemake.params, snakemake.input
    rival = read_rival(snakemake)
    kind, model, ids = rival.kind, rival.model, rival.images.image_ids
    scorings = [settings(kind.Scoring, scoring) for scoring in params.scorings]
    candidates, earlier = rival.candidates, None
    if "candidates" in files.keys():  # noqa: SIM118 (no mapping)
        check_made_with([files.candidates], "weights_sha256", rival.sha256, rival.weights)
        candidates = read_candidates(files.candidates, ids)
    if "earlier" in files.keys():  # noqa: SIM118
        check_made_with([files.earlier], "weights_sha256", rival.sha256, rival.weights)
        before = read_scores(files.earlier)
        check_images(files.earlier, before.image_ids, files.manifest, ids)
        earlier = Earlier(scorings[-2], select(before, candidates).log_likelihood)
    parts = job_parts(snakemake, snakemake.output.scores, device, weights_sha256=rival.sha256)
    images = rival.images._replace(keep=parts)
    with measured(device, len(ids), log, parts=parts) as record:
        if params.sample:
            steps = kind.score_sample(model.to(device), images, candidates, settings(kind.Sample, params.sample))
        else:
            steps = kind.score(model.to(device), images, candidates, scorings[-1], earlier)[..., None]
    record["weights_sha256"] = rival.sha256
    write_scores(snakemake.output.scores, ids, candidates, steps, record)
    parts.remove()
