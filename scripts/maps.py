"""Maps of all shards, and what they cost: what the scripts that judge maps share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from varc.storage import column_matrix, image_ids, provenance, read_parquet


def read_maps(files: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
    """The image_ids and maps (N, p_K, p_K) of all shards."""
    tables = [read_parquet(path, ["image_id", "map"]) for path in files]
    maps = np.concatenate([column_matrix(table, "map") for table in tables])
    side = round(maps.shape[1] ** 0.5)
    return [image_id for table in tables for image_id in image_ids(table)], maps.reshape(-1, side, side)


def map_costs(files: Sequence[str]) -> dict[str, float]:
    """What it takes to make one map, from the files of all shards."""
    records = [provenance(path) for path in files]
    images = sum(record["images"] for record in records)
    known = {key: records[0][key] for key in ("passes_per_image", "gflops_per_image")}
    return {**known, "seconds_per_image": sum(record["seconds"] for record in records) / max(images, 1)}
