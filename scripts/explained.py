"""Which images of a shard are explained, and which classes: what the scripts that make maps share."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.data.manifest import Listed, rows
from varc.explain.pairs import Pair
from varc.explain.tmi import explained_images, role_classes
from varc.scoring.funnel import read_scores, select_images
from varc.storage import check_images, image_ids, read_parquet, shard_bounds


class Explained(NamedTuple):
    """The images that a job explains."""

    rows: list[Listed]
    ids: list[str]
    shard: NDArray[np.object_]  # the image_ids of the whole shard
    where: list[int]  # their positions in it
    classes: list[NDArray[np.int32]]  # of each of the job's roles, one class_id per image


def read_paired(path: str) -> dict[str, Pair]:
    """The pairs that the rule `pairs` wrote, by image_id, in the order of the images."""
    return {row["image_id"]: Pair(**row) for row in read_parquet(path).to_pylist()}


def explained(snakemake: Any) -> Explained:
    """The images of the job's shard that its params `images` and `seed` choose, and the classes of `roles`."""
    manifest, params = read_parquet(snakemake.input.manifest), snakemake.params
    first, end = shard_bounds(len(manifest), snakemake.params.shard, snakemake.resources.shards)
    ids = image_ids(manifest)
    paired = read_paired(path) if (path := snakemake.input.get("pairs")) else None
    chosen = explained_images(ids, params.images, params.seed, paired)
    listed = rows(manifest)
    found = [i for i in range(first, end) if chosen[i]]
    where = [i - first for i in found]
    labels = np.array([listed[i].label for i in found], np.int32)
    scores = None
    if path := snakemake.input.get("scores"):
        of_shard = read_scores(path)
        check_images(path, of_shard.image_ids, snakemake.input.manifest, ids[first:end])
        scores = select_images(of_shard, where)
    told = [paired[ids[i]] for i in found] if paired else []
    pairs = {which: np.array([getattr(pair, which) for pair in told], np.int32) for which in ("target", "against")}
    classes = [role_classes(role, labels, scores, pairs).astype(np.int32) for role in params.roles]
    return Explained([listed[i] for i in found], [listed[i].image_id for i in found], ids[first:end], where, classes)
