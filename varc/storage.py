"""Parquet files of the pipeline: schemas, atomic writes, provenance.

One file per shard; rows in the order of the manifest, which is sorted by image_id. A file is written under a temporary
name in its own folder and renamed, so that readers see all of it or none. Provenance is JSON in the Parquet metadata.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import varc
from varc.errors import InputError
from varc.files import whole
from varc.groups import Groups, numbered
from varc.origin import check_place, made_from, place
from varc.seal import check_seal, seal

ROWS_PER_GROUP = 10_000
PROVENANCE = b"varc"

MANIFEST = pa.schema([("image_id", pa.string()), ("label", pa.int32()), ("path", pa.string()), ("group", pa.string())])
CANDIDATES = pa.schema(
    [("image_id", pa.string()), ("class_id", pa.int32()), ("rank", pa.int32()), ("score", pa.float64())]
)
PAIRS = pa.schema(
    [
        ("image_id", pa.string()),
        ("target", pa.int32()),
        ("against", pa.int32()),
        ("counterpart", pa.string()),
        ("line", pa.int32()),
    ]
)
LOCALISED = pa.schema(
    [
        ("image_id", pa.string()),
        ("group", pa.string()),
        ("target", pa.int32()),
        ("against", pa.int32()),
        ("present", pa.bool_()),
        ("area", pa.int32()),
        ("method", pa.string()),
        ("sign", pa.string()),
        ("auc", pa.float64()),
        ("iou", pa.float64()),
        ("pointing", pa.float64()),
    ]
)
INCREMENTAL = pa.schema(
    [("after_task", pa.int32()), ("on_task", pa.int32()), ("images", pa.int32()), ("accuracy", pa.float64())]
)


def features_schema(size: int) -> pa.Schema:
    """f of each image, flattened from (C, p_K, p_K) to `size` numbers; the SHA-256 of the pixels that were encoded."""
    features = pa.list_(pa.float32(), size)
    return pa.schema([("image_id", pa.string()), ("features", features), ("pixels_sha256", pa.string())])


def tokens_schema(length: int) -> pa.Schema:
    """All tokens of each image, coarse to fine."""
    return pa.schema([("image_id", pa.string()), ("tokens", pa.list_(pa.uint16(), length))])


def scores_schema(scales: int) -> pa.Schema:
    """Log-likelihoods in nats of each image under each candidate: their sum, and per scale."""
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("class_id", pa.int32()),
            ("log_likelihood", pa.float64()),
            ("per_scale", pa.list_(pa.float64(), scales)),
        ]
    )


def adaptive_schema(scales: int) -> pa.Schema:
    """Scores of an adaptive funnel: also how many scales (or chunks of an order) and samples each candidate got;
    per_scale is NaN beyond."""
    schema = scores_schema(scales)
    return pa.schema(
        [
            *(schema.field(i) for i in (0, 1)),
            ("scales", pa.int32()),
            ("samples", pa.int32()),
            *(schema.field(i) for i in (2, 3)),
        ]
    )


def token_scores_schema(tokens: int) -> pa.Schema:
    """log p of every token, coarse to fine, in nats, under one class; class_id -1 is the unconditional one."""
    return pa.schema(
        [("image_id", pa.string()), ("class_id", pa.int32()), ("log_prob", pa.list_(pa.float32(), tokens))]
    )


def maps_schema(pixels: int, tokens: int) -> pa.Schema:
    """Explanations: the map row by row, before clipping and scaling, and the value of every token, unweighted, which
    is null for methods that do not explain by tokens."""
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("target", pa.int32()),
            ("against", pa.int32()),
            ("map", pa.list_(pa.float32(), pixels)),
            ("per_token", pa.list_(pa.float32(), tokens)),
        ]
    )


def curves_schema(points: int, classes: int) -> pa.Schema:
    """A judge's scores of all classes (class_id ascending) at every point of an insertion or deletion curve, point by
    point."""
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("curve", pa.string()),
            ("substrate", pa.string()),
            ("target", pa.int32()),
            ("scores", pa.list_(pa.float64(), points * classes)),
        ]
    )


def predictions_schema(stages: int) -> pa.Schema:
    """One row per image; rank_stage<i> is null once the label was pruned."""
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("label", pa.int32()),
            ("prediction", pa.int32()),
            ("score", pa.float64()),
            ("runner_up", pa.int32()),
            ("margin", pa.float64()),
            *((f"rank_stage{i + 1}", pa.int32()) for i in range(stages)),
        ]
    )


def fixed_size_list(values: NDArray[Any]) -> pa.FixedSizeListArray:
    """An (N, n) array as a column of N lists of length n."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])


def column_matrix(table: pa.Table, column: str) -> NDArray[Any]:
    """A fixed-size-list column as an (N, n) array."""
    n = table.schema.field(column).type.list_size
    return table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, n)


def write_parquet(path: str | Path, columns: dict[str, Any], schema: pa.Schema, provenance: dict[str, Any]) -> None:
    """Writes columns as one Parquet file, whole or not at all.

    Its provenance gets the package's version, its place in a run's results, and what the job's files are made from
    (see varc.origin).
    """
    told = {"place": place(path), "made_from": made_from()}
    known = {key: value for key, value in told.items() if value}
    text = json.dumps({"version": varc.__version__, **known, **provenance}, sort_keys=True)
    table = pa.table(columns, schema=schema.with_metadata({PROVENANCE: text.encode()}))
    with whole(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROWS_PER_GROUP, write_page_checksum=True)
        seal(temporary)


def check_apart(calibration: str | Path, manifest: str | Path) -> None:
    """Raises InputError where the manifest of a calibration set has images of another manifest."""
    known = set(image_ids(read_parquet(calibration)))
    if both := sorted(known & set(image_ids(read_parquet(manifest)))):
        raise InputError(f"{calibration}: {both[0]} and {len(both) - 1} others are test images as well")


def write_scores(
    path: str | Path,
    image_ids: Sequence[str] | NDArray[np.object_],
    candidates: NDArray[np.int32],
    per_scale: NDArray[np.float64],
    provenance: dict[str, Any],
) -> None:
    """A file of scores (N, M, k) of images under their candidates (N, M): their sum over the scales, and each."""
    columns = {
        "image_id": np.repeat(image_ids, candidates.shape[1]),
        "class_id": candidates.ravel(),
        "log_likelihood": per_scale.sum(-1).ravel(),
        "per_scale": fixed_size_list(per_scale.reshape(candidates.size, -1)),
    }
    write_parquet(path, columns, scores_schema(per_scale.shape[-1]), provenance)


def write_open_scores(
    path: str | Path,
    image_ids: Sequence[str] | NDArray[np.object_],
    candidates: NDArray[np.int32],
    result: Any,
    provenance: dict[str, Any],
) -> None:
    """A file of the scores (varc.scoring.adaptive.AdaptiveScores) of images under their candidates (N, M), of which not
    all are scored alike."""
    scales = result.per_step.shape[-1]
    columns = {
        "image_id": np.repeat(image_ids, candidates.shape[1]),
        "class_id": candidates.ravel(),
        "scales": result.steps.ravel(),
        "samples": result.samples.ravel(),
        "log_likelihood": result.log_likelihood.ravel(),
        "per_scale": fixed_size_list(result.per_step.reshape(-1, scales)),
    }
    write_parquet(path, columns, adaptive_schema(scales), provenance)


def write_maps(
    path: str | Path,
    image_ids: Sequence[str],
    target: NDArray[Any],
    against: NDArray[Any],
    maps: NDArray[np.float32],
    per_token: NDArray[np.float32] | int,
    provenance: dict[str, Any],
) -> None:
    """A file of maps (N, p_K^2) of images explained. per_token (N, L), or L alone where a method has no such values."""
    tokens = per_token if isinstance(per_token, int) else per_token.shape[1]
    schema = maps_schema(maps.shape[1], tokens)
    columns = {
        "image_id": list(image_ids),
        "target": target.astype(np.int32),
        "against": against.astype(np.int32),
        "map": fixed_size_list(maps.astype(np.float32)),
        "per_token": pa.nulls(len(maps), schema.field("per_token").type)
        if isinstance(per_token, int)
        else fixed_size_list(per_token),
    }
    write_parquet(path, columns, schema, provenance)


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads a file that write_parquet wrote. Raises InputError for one that is absent, damaged, not of varc, or not of
    the place where it lies (see varc.origin.check_place)."""
    provenance(path)
    with sound(path):
        wanted = list(columns) if columns else None
        return pq.read_table(path, columns=wanted, partitioning=None, page_checksum_verification=True)


def provenance(path: str | Path) -> dict[str, Any]:
    """The provenance of a file. Raises InputError as read_parquet does."""
    with sound(path):
        check_seal(path)
        found = json.loads(pq.read_schema(path).metadata[PROVENANCE])
    origin = found.get("made_from", {})
    drawn = None if "seed" in origin.get("wildcards", {}) else origin.get("params", {}).get("seed")
    check_place(path, found.get("place"), drawn)
    return found


def scales_in(path: str | Path) -> int:
    """How many scales a file of scores has. Raises InputError as read_parquet does."""
    with sound(path):
        return pq.read_schema(path).field("per_scale").type.list_size


@contextmanager
def sound(path: str | Path) -> Iterator[None]:
    """For a block that reads a file: raises InputError where it is absent, damaged, or not of varc."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it again") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}: damaged, or not written by varc ({error}); delete it and run the same command again"
        ) from error


def image_ids(table: pa.Table) -> NDArray[np.object_]:
    """The image_id column as strings."""
    return table["image_id"].to_numpy(zero_copy_only=False)


def shard_bounds(images: int, shard: int, shards: int) -> tuple[int, int]:
    """First row and end of a shard: contiguous, and sizes that differ by one at most.

    Raises InputError where a shard would be empty.
    """
    if shards > images:
        raise InputError(f"shards: {shards} shards, but only {images} images; set shards to {images} or fewer")
    return shard * images // shards, (shard + 1) * images // shards


def check_images(path: str | Path, ids: NDArray[np.object_], other: str | Path, expected: NDArray[np.object_]) -> None:
    """Raises InputError where a file does not hold the images that another one lists, in their order."""
    if not np.array_equal(ids, expected):
        raise InputError(f"{path}: holds other images than {other}; delete {path} and run the same command again")


def read_columns(
    paths: Sequence[str | Path], column: str, other: str | Path, expected: NDArray[np.object_]
) -> NDArray[Any]:
    """A fixed-size-list column of the shards of a file, one after the other, as an (N, n) array.

    Raises InputError where they do not hold the images that another file lists, in their order.
    """
    tables = [read_parquet(path, ["image_id", column]) for path in paths]
    check_images(paths[0], np.concatenate([image_ids(table) for table in tables]), other, expected)
    return np.concatenate([column_matrix(table, column) for table in tables])


def read_tokens(paths: Sequence[str | Path], manifest: str | Path) -> NDArray[np.uint16]:
    """The tokens (N, L) of a manifest's images, from the files of all shards. Raises InputError for other images."""
    return read_columns(paths, "tokens", manifest, image_ids(read_parquet(manifest, ["image_id"])))


def read_samples(paths: Sequence[str | Path], samples: int, manifest: str | Path) -> list[NDArray[np.uint16]]:
    """The tokens (N, L) of each sample of a manifest's images, from files that hold one sample after the other, each
    in as many shards. Raises InputError for other images."""
    shards = len(paths) // samples
    return [read_tokens(paths[i : i + shards], manifest) for i in range(0, len(paths), shards)]


def read_labels(manifest: str | Path) -> NDArray[np.int64]:
    """The labels (N,) of a manifest."""
    return read_parquet(manifest, ["label"])["label"].to_numpy().astype(np.int64)


def read_groups(path: str | Path, ids: Iterable[str] | None = None) -> Groups:
    """The groups of a manifest's images: of all, or of those with some image_ids, in their order."""
    table = read_parquet(path, ["image_id", "group"])
    group_of = dict(zip(image_ids(table), table["group"].to_pylist(), strict=True))
    return numbered([group_of[image_id] for image_id in (group_of if ids is None else ids)])


def total_seconds(paths: Sequence[str | Path]) -> float:
    """Seconds of computation that made the files, summed."""
    return sum(provenance(path)["seconds"] for path in paths)


def prefix_seconds(paths: Sequence[str | Path], scales: int, patch_nums: Sequence[int]) -> float:
    """Seconds of files of scores that count for their first scales: the share of those scales' tokens."""
    tokens = [p * p for p in patch_nums]
    return sum(provenance(path)["seconds"] * sum(tokens[:scales]) / sum(tokens[: scales_in(path)]) for path in paths)


def seconds_per_image(paths: Sequence[str | Path]) -> float:
    """Seconds of computation per image, summed over files that may hold different numbers of images."""
    records = [provenance(path) for path in paths]
    return sum(record["seconds"] / max(record["images"], 1) for record in records)


def devices(paths: Sequence[str | Path]) -> str:
    """The devices that made the files, each once."""
    return ", ".join(sorted({provenance(path)["device"] for path in paths}))
