"""What the jobs that score with a rival read: its model, and the images of their shard."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varc.baselines.family import Images, family
from varc.baselines.weights import read_baseline
from varc.data.classes import class_ids, data_set_classes
from varc.data.manifest import load_images, rows
from varc.scoring.funnel import all_classes
from varc.storage import read_parquet, shard_bounds


class Rival(NamedTuple):
    """A family, its model and the SHA-256 of its weights, whose file or files `weights` names; the images of a shard
    and all classes (N, M) for each."""

    kind: Any
    model: Any
    sha256: str
    weights: str
    images: Images
    candidates: NDArray[np.int32]


def read_rival(snakemake: Any) -> Rival:
    """The rival of a job's inputs and params, and the images of its shard. Raises InputError as the readers do."""
    params, entry, files = snakemake.params, snakemake.params.baseline, snakemake.input
    listed = rows(read_parquet(files.manifest))
    first, end = shard_bounds(len(listed), params.shard, snakemake.resources.shards)
    listed = listed[first:end]
    ids = np.array([row.image_id for row in listed], dtype=object)
    weights = entry.get("checkpoint", files.get("weights"))
    kind = family(entry["family"])
    model, card = read_baseline(kind, entry, files.get("weights"), params.public_sha256)
    pixels = load_images(params.dataset, listed, entry["shape"]["image_size"])
    candidates = all_classes(class_ids(data_set_classes(params.dataset)), len(ids), card)
    named = " and ".join(weights.values()) if isinstance(weights, dict) else weights
    return Rival(kind, model, card["sha256"], named, Images(pixels, ids, params.seed), candidates)
