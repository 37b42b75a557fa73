"""Which images of a shard are explained, and which classes: what the scripts that make maps share."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.data.manifest import Listed, rows
from varc.explain.tmi import explained_images, role_classes
from varc.scoring.funnel import read_scores, select_images
from varc.storage import image_ids, read_parquet, shard_bounds


class Explained(NamedTuple):
    """The images that a job explains."""

    rows: list[Listed]
    ids: list[str]
    where: list[int]  # their positions in the shard
    classes: list[NDArray[np.int32]]  # of each of the job's roles, one class_id per image


def explained(snakemake: Any) -> Explained:
    """The images of the job's shard that its params `images` and `seed` choose, and the classes of `roles`."""
    manifest, params = read_parquet(snakemake.input.manifest), snakemake.params
    first, end = shard_bounds(len(manifest), snakemake.params.shard, snakemake.resources.shards)
    chosen = explained_images(image_ids(manifest), params.images, params.seed)
    listed = rows(manifest)
    found = [i for i in range(first, end) if chosen[i]]
    where = [i - first for i in found]
    labels = np.array([listed[i].label for i in found], np.int32)
    scores = select_images(read_scores(snakemake.input.scores), where) if snakemake.input.get("scores") else None
    classes = [role_classes(role, labels, scores).astype(np.int32) for role in params.roles]
    return Explained([listed[i] for i in found], [listed[i].image_id for i in found], where, classes)
