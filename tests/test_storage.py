import json
import os
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import varc
from varc.errors import InputError
from varc.storage import (
    CANDIDATES,
    column_matrix,
    fixed_size_list,
    provenance,
    read_parquet,
    shard_bounds,
    tokens_schema,
    write_parquet,
)

TOKENS = np.array([[1, 2, 65535], [4, 5, 6]], np.uint16)


def write(path, tokens=TOKENS):
    columns = {"image_id": ["a", "b"], "tokens": fixed_size_list(tokens)}
    write_parquet(path, columns, tokens_schema(3), {"sigma": 0.1})


def test_tables_and_their_provenance_are_read_as_written(tmp_path):
    path = tmp_path / "deep" / "0.parquet"
    write(path)
    table = read_parquet(path)
    assert table["image_id"].to_pylist() == ["a", "b"]
    assert np.array_equal(column_matrix(table, "tokens"), TOKENS)
    assert table.schema.field("tokens").type == pa.list_(pa.uint16(), 3)
    assert provenance(path) == {"sigma": 0.1, "version": varc.__version__}


def test_column_matrix_of_a_slice(tmp_path):
    write(tmp_path / "0.parquet")
    assert np.array_equal(column_matrix(read_parquet(tmp_path / "0.parquet").slice(1), "tokens"), TOKENS[1:])


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "0.parquet"
    write(path)
    before = path.read_bytes()
    with pytest.raises(pa.ArrowInvalid):
        write_parquet(path, {"image_id": ["a"], "class_id": [1], "rank": ["x"], "score": [0.0]}, CANDIDATES, {})

    def half(table, name, **options):
        with open(name, "wb") as file:
            file.write(b"PAR1 half")
        raise OSError("No space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(InputError, match=r"0\.parquet: cannot be written .*No space"):
        write(path, TOKENS + 1)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["0.parquet"]


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "0.parquet"
    write(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no Parquet"):
        path.write_bytes(content)
        for read in (read_parquet, provenance):
            with pytest.raises(InputError, match=r"0\.parquet: damaged"):
                read(path)
    with pytest.raises(InputError, match="no such file"):
        read_parquet(tmp_path / "1.parquet")


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_is_refused_or_does_no_harm(tmp_path, mask):
    """Each byte of a file in turn: what is read is what was written, or nothing."""
    path, refused = tmp_path / "0.parquet", 0
    columns = {"image_id": ["a/x.png", "b/y.png"], "class_id": [1, 2], "rank": [1, 2], "score": [0.25, 0.5]}
    write_parquet(path, columns, CANDIDATES, {"seconds": 1.25, "images": 2})
    whole, table, record = path.read_bytes(), read_parquet(path), provenance(path)
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ mask]) + whole[i + 1 :])
        try:
            assert read_parquet(path).equals(table) and provenance(path) == record, f"byte {i}"
        except InputError as error:
            assert "0.parquet: damaged" in str(error)
            refused += 1
    assert refused > 0.8 * len(whole)


def test_a_file_of_others_is_refused(tmp_path):
    path = tmp_path / "0.parquet"
    pq.write_table(pa.table({"image_id": ["a"]}), path)
    for read in (read_parquet, provenance):
        with pytest.raises(InputError, match="not written by varc"):
            read(path)


def test_provenance_is_plain_json(tmp_path):
    write(tmp_path / "0.parquet")
    assert json.loads(pq.read_schema(tmp_path / "0.parquet").metadata[b"varc"])["sigma"] == 0.1


@pytest.mark.parametrize(("images", "shards"), [(10, 1), (10, 3), (10, 10), (454, 5), (50_000, 100)])
def test_shards_are_contiguous_complete_and_even(images, shards):
    bounds = [shard_bounds(images, shard, shards) for shard in range(shards)]
    assert bounds[0][0] == 0 and bounds[-1][1] == images
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
    sizes = [end - first for first, end in bounds]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1


def test_more_shards_than_images_are_refused():
    with pytest.raises(InputError, match="11 shards, but only 10 images"):
        shard_bounds(10, 0, 11)
