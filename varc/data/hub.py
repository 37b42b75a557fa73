"""Parquet files as the Hugging Face hub ships image data sets."""

import bisect
import functools
import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from varc.bounded import check_file
from varc.data.classes import ClassEntry, data_set_classes
from varc.data.decode import decoded
from varc.data.found import Found, OpenImage, PassOver, Spec, forget, index_in, naming, printable
from varc.data.lists import nfc
from varc.data.shard_files import shard_files
from varc.data.splits import FRACTIONS, group_splits, stratified_splits
from varc.errors import InputError

FAILURE, REMEDY = "cannot be read as Parquet", "download it again"
MOST_ROWS, LARGEST_GROUP = 10_000_000, 2**33  # of a file; bytes of a row group, decompressed
ROWS = 1000  # read at a time, where images are looked through
TEXTS = (pa.types.is_string, pa.types.is_large_string)


def list_parquet(spec: Spec, pass_over: PassOver = forget) -> Iterator[Found]:
    """root/*.parquet as Hugging Face ships image data sets: columns image (bytes, path) and label, the folder.

    With `group_column` each image has a group, of which only Unicode's NFC counts; with `split` the images of a split
    are listed, of all that the files have: whole groups, without groups stratified by label. Raises InputError for
    other columns, for a row without label, group or the bytes of an image, and where the file calls its labels
    otherwise than the class list does.
    """
    rows = (row for path in shard_files(spec, pass_over) for row in list_file(path, spec))
    return rows if "split" not in spec else iter(in_split(list(rows), spec["split"]))


def in_split(rows: list[Found], split: str) -> list[Found]:
    """Those of all images of a source that are in a split."""
    groups = [row.group for row in rows if row.group is not None]
    if groups:
        splits = group_splits(groups, FRACTIONS)
    else:
        splits = stratified_splits([row.image_id for row in rows], [nfc(row.folder) for row in rows], FRACTIONS)
    return [row for row, own in zip(rows, splits, strict=True) if own == split]


def list_file(path: Path, spec: Spec) -> list[Found]:
    """The images of one file; see list_parquet."""
    image, label = column_names(spec)
    with naming(path, FAILURE, REMEDY):
        file = opened(path)
        check_columns(path, file.schema_arrow, image, label)
        check_sizes(file.metadata)
        check_class_names(path, class_names(file.schema_arrow, label), spec)
        labels = read_column(path, label)
        check_images(path, image)
        for i, value in enumerate(labels):
            if value is None:
                raise InputError(f"{path}: row {i} has no {label}; take it away")
        groups = read_groups(path, file.schema_arrow, spec["group_column"]) if "group_column" in spec else None
    return [
        Found(f"{path.name}:{i:06d}", str(value), path.as_posix(), groups[i] if groups else None)
        for i, value in enumerate(labels)
    ]


def read_groups(path: Path, schema: pa.Schema, column: str) -> list[str]:
    """The group of each row of a file. Raises InputError for another column, and for a row without a group."""
    check_column(path, schema, "group_column", column, (pa.types.is_integer, *TEXTS))
    found = [None if value is None else nfc(str(value)) for value in read_column(path, column)]
    groups = [group for group in found if group is not None and group.strip()]
    if len(groups) < len(found):
        row = next(i for i, group in enumerate(found) if group is None or not group.strip())
        raise InputError(f"{path}: row {row} has no {column}; write its group into it, or take the row away")
    return groups


def read_column(path: Path, column: str) -> list[Any]:
    """The values of a column of a file."""
    return python_values(opened(path, column).read([column])[column])


def column_names(spec: Spec) -> tuple[str, str]:
    """The columns of the images and of the labels."""
    return spec.get("image_column", "image"), spec.get("label_column", "label")


def opened(path: str | Path, column: str | None = None) -> Any:
    """A Parquet file; pages that have checksums are held against them.

    column: one to be read, of whose texts and bytes each is held once, however many rows have it: a small file may
    stand for any number of large ones.
    """
    check_file(path)
    file = pq.ParquetFile(path, page_checksum_verification=True)
    leaves = [file.schema.column(i) for i in range(len(file.schema))] if column else []
    own = [leaf for leaf in leaves if leaf.path.split(".")[0] == column]
    shared = [leaf.path for leaf in own if leaf.physical_type == "BYTE_ARRAY" and leaf.max_repetition_level == 0]
    return pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=shared) if shared else file


def check_sizes(metadata: Any) -> None:
    """Raises ValueError for more rows, and for a larger row group, than are read."""
    if metadata.num_rows > MOST_ROWS:
        raise ValueError(f"it has {metadata.num_rows} rows, more than the {MOST_ROWS} that are read")
    sizes = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    if largest := max((size for size in sizes if size > LARGEST_GROUP), default=0):
        raise ValueError(f"a row group has {largest} bytes, more than the {LARGEST_GROUP} that are read")


def python_values(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column; those that its dictionary holds once are one object."""
    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()
    values: list[Any] = []
    for chunk in column.chunks:
        known = chunk.dictionary.to_pylist()
        values += [None if i is None else known[i] for i in chunk.indices.to_pylist()]
    return values


def is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_struct_of_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds images as the hub does: {bytes, path}."""
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and is_binary(kind.field("bytes").type)


def check_columns(path: Path, schema: pa.Schema, image: str, label: str) -> None:
    """Raises InputError where the columns of images and labels are not there, or hold something else."""
    for key, name in (("image_column", image), ("label_column", label)):
        check_there(path, schema, key, name)
    kind = schema.field(image).type
    if not (is_binary(kind) or is_struct_of_bytes(kind)):
        raise InputError(f"{path}: column {image} holds {printable(kind)}, expected binary or {{bytes, path}}")
    check_column(path, schema, "label_column", label, (pa.types.is_integer, *TEXTS, pa.types.is_boolean))


def check_there(path: Path, schema: pa.Schema, key: str, name: str) -> None:
    """Raises InputError where a file has no column of a name, or two."""
    if schema.names.count(name) != 1:
        found = ", ".join(printable(name) for name in schema.names)
        raise InputError(f"{path}: has no column {name}, but {found}; set {key} to the one that is meant")


def check_column(path: Path, schema: pa.Schema, key: str, name: str, kinds: tuple[Callable[..., bool], ...]) -> None:
    """Raises InputError where the column that a key names is not there, or holds something else."""
    check_there(path, schema, key, name)
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(fits(kind) for fits in kinds):
        raise InputError(f"{path}: column {name} holds {printable(kind)}, expected whole numbers or text; set {key}")


def class_names(schema: pa.Schema, label: str) -> list[str]:
    """The names of the labels 0, 1, ... as the hub writes them into a file's schema; none where it says none."""
    content = (schema.metadata or {}).get(b"huggingface")
    try:
        names = json.loads(content)["info"]["features"][label]["names"] if content else []
    except (ValueError, KeyError, TypeError):  # other features than class labels have no names
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def check_class_names(path: Path, names: list[str], spec: Spec) -> None:
    """Raises InputError where a file calls a label otherwise than the class list calls the class that it stands for."""
    rows = {nfc(entry.folder): entry for entry in data_set_classes(spec)} if "classes" in spec else {}
    for number, name in enumerate(names):
        entry = rows.get(str(number))
        if entry is not None and not same_class(name, entry):
            raise InputError(
                f"{path}: label {number} is {name!r}, but {spec['classes']} has {entry.name!r} (class_id "
                f"{entry.class_id}) for folder {number}; give folder {number} the class_id of {name!r}, or its name"
            )


def same_class(name: str, entry: ClassEntry) -> bool:
    """Whether a name may mean a class: its folder, or one of its names in common ("tench, Tinca tinca")."""
    own = {plain(part) for text in (entry.name, entry.folder) for part in (text, *text.split(","))}
    return not own.isdisjoint(plain(part) for part in (name, *name.split(",")))


def plain(name: str) -> str:
    """A name without what different writers write differently: case, blanks, hyphens, underscores."""
    text = nfc(name).casefold()
    return "".join(letter for letter in text if letter.isalnum()) or text.strip()


def check_images(path: Path, image: str) -> None:
    """Raises InputError for the first row without the bytes of an image.

    The file's own counts of nulls tell where there is none; else the column is read.
    """
    file = opened(path, image)
    metadata = file.metadata
    leaf = f"{image}.bytes" if pa.types.is_struct(file.schema_arrow.field(image).type) else image
    columns = [i for i in range(metadata.num_columns) if metadata.schema.column(i).path == leaf]
    row = 0
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(columns[0]).statistics if len(columns) == 1 else None
        if statistics is None or not statistics.has_null_count or statistics.null_count:
            first = row
            for batch in file.iter_batches(ROWS, [group], [image]):
                check_rows(path, batch.column(0), first)
                first += len(batch)
        row += metadata.row_group(group).num_rows


def check_rows(path: Path, values: pa.Array, first: int) -> None:
    """Raises InputError for the first of some rows that has no bytes."""
    absent = pc.is_null(pc.struct_field(values, "bytes") if pa.types.is_struct(values.type) else values)
    row = pc.index(absent, True).as_py()
    if row < 0:
        return
    if (value := values[row].as_py()) is None:
        raise InputError(f"{path}: row {first + row} has no image; take it away")
    found = f"but the path {printable(value['path'])}" if value.get("path") else "nor a path"
    raise InputError(f"{path}: row {first + row} has no bytes of an image, {found}; write the images into the file")


def open_parquet(spec: Spec) -> OpenImage:
    """Rows of the files; one row group is kept, since neighbours come from the same one."""
    image, _ = column_names(spec)

    @functools.lru_cache(maxsize=1)
    def row_group(path: str, group: int) -> Any:
        return opened(path, image).read_row_group(group, [image])[image]

    @functools.lru_cache(maxsize=1)
    def starts(path: str) -> list[int]:
        metadata = opened(path).metadata
        return [0, *itertools.accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))]

    def open_image(found: Found) -> Image.Image:
        with naming(found.image_id, "cannot be read from its Parquet file", REMEDY, b""):
            row = index_in(found.image_id)
            group = bisect.bisect_right(starts(found.path), row) - 1
            value = row_group(found.path, group)[row - starts(found.path)[group]].as_py()
            content = value["bytes"] if isinstance(value, dict) else value
        return decoded(io.BytesIO(content), found.image_id)

    return open_image
