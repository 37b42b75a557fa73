"""Explain the images of a shard by TMI: one value per token, and the map that they make."""

import numpy as np
from explained import explained
from job import job
from shapes import model_configs

from varc.costs.closed_form import pass_gflops
from varc.costs.models import encoder_cost
from varc.explain.tmi import tmi, tmi_map
from varc.freshness import check_agree
from varc.storage import check_images, image_ids, provenance, read_columns, read_parquet, seconds_per_image, write_maps


def log_prob(path):
    """log p of each token (N, L); another entry may have had more of the same images scored."""
    return read_columns([path], "log_prob", files.target[0], scored)[which]


def class_ids(path):
    """The classes (N,) that the tokens were scored under."""
    return read_parquet(path, ["class_id"])["class_id"].to_numpy()[which]


with job(snakemake) as log:
    files = snakemake.input
    check_agree([*files.target, *files.against])
    ids = explained(snakemake).ids
    scored = image_ids(read_parquet(files.target[0], ["image_id"]))
    which = np.isin(scored, ids)
    check_images(files.target[0], scored[which], files.manifest, np.array(ids, object))
    per_token = tmi([log_prob(path) for path in files.target], [log_prob(path) for path in files.against])
    vqvae, var = model_configs(snakemake.params.shape)
    maps = tmi_map(per_token, var.patch_nums, snakemake.params.weights).reshape(len(ids), var.patch_nums[-1] ** 2)
    passes = len(files.target) + len(files.against)
    made = [*files.features, *files.tokens, *files.target, *files.against]
    record = {
        "images": len(ids),
        "seconds": seconds_per_image(made) * len(ids),
        "passes_per_image": passes,
        "gflops_per_image": encoder_cost(vqvae).gflops + passes * pass_gflops(var, len(var.patch_nums)),
        **{key: provenance(files.target[0])[key] for key in ("var_sha256", "vqvae_sha256", "device")},
    }
    write_maps(
        snakemake.output.maps, ids, class_ids(files.target[0]), class_ids(files.against[0]), maps, per_token, record
    )
    log.info("%d images, %d passes each", len(ids), passes)
