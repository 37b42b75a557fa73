"""Records and files of a run: what is damaged, exchanged or of another run is not read."""

import json
import shutil

import numpy as np
import pytest

from varc.errors import InputError
from varc.origin import begin_job, making, place
from varc.seal import read_json, write_json
from varc.storage import (
    CANDIDATES,
    MANIFEST,
    fixed_size_list,
    image_ids,
    read_parquet,
    read_samples,
    tokens_schema,
    write_parquet,
)

RECORD = {"alpha": 0.05, "thresholds": [1.5, None, -2.0], "var_sha256": "a" * 64, "nested": {"2": [1, "x"]}}
COLUMNS = {"image_id": ["a"], "class_id": [1], "rank": [1], "score": [0.5]}


pytestmark = pytest.mark.usefixtures("no_job")


def job(run="r", seed=3, **params):
    begin_job("score", {"run": run}, params, [], [], seed)


def test_a_record_is_read_as_it_was_written(tmp_path):
    write_json(tmp_path / "a.json", RECORD)
    assert read_json(tmp_path / "a.json") == RECORD
    assert json.loads((tmp_path / "a.json").read_text()).keys() == {*RECORD, "seal"}
    write_json(tmp_path / "b.json", {"kind": ("score", 1), 2: float("inf"), 10: "ü"})  # as JSON has them
    assert read_json(tmp_path / "b.json") == {"kind": ["score", 1], "2": float("inf"), "10": "ü"}


def test_each_flipped_byte_of_a_record_is_refused_or_does_no_harm(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, RECORD)
    whole, harmless = path.read_bytes(), 0
    for i in range(len(whole)):
        for mask in (0x01, 0x20, 0x80):
            path.write_bytes(whole[:i] + bytes([whole[i] ^ mask]) + whole[i + 1 :])
            try:
                assert read_json(path) == RECORD
                harmless += 1
            except InputError as error:
                assert "a.json: damaged" in str(error) and "\n" not in str(error)
    assert harmless < len(whole) / 4  # white space


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"seal"',
        b"{}",
        b'{"seal": 5}',
        b"\xff\xfe{",
        b'{"a": NaN, "seal": "x"}',
        b"[" * 9999,
    ],
)
def test_damage_of_any_kind_is_one_line(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: damaged .*; delete it and run the same command again"):
        read_json(tmp_path / "a.json")


def test_an_edited_value_is_refused(tmp_path):
    write_json(tmp_path / "a.json", RECORD)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("1.5", "0.15"))
    with pytest.raises(InputError, match=r"a\.json: damaged"):
        read_json(tmp_path / "a.json")


def test_where_a_file_of_a_run_lies(tmp_path, monkeypatch):
    assert place("/x/results/r/scores/0.parquet") == "r/scores/0.parquet"
    assert place("/results/old/results/r/a") == "r/a"
    assert place("/x/results/file") is None and place("/x/y/z") is None
    monkeypatch.chdir(tmp_path)
    assert place("results/r/a") == "r/a"


def write_scores_of(path, **record):
    write_parquet(path, COLUMNS, CANDIDATES, record)


def write_record_of(path):
    write_json(path, RECORD)


READ = {"0.parquet": (write_scores_of, read_parquet), "0.json": (write_record_of, read_json)}


@pytest.mark.parametrize("name", READ)
def test_exchanged_files_are_refused_by_name(tmp_path, name):
    write, read = READ[name]
    one, other = (tmp_path / "results/r" / folder / name for folder in ("a", "b"))
    job()
    write(one)
    shutil.copytree(one.parent, other.parent)
    read(one)
    with pytest.raises(InputError, match=rf"b/{name}: was written as results/r/a/{name}; delete it and"):
        read(other)
    making.set(None)  # nor by the library
    with pytest.raises(InputError, match="was written as"):
        read(other)


@pytest.mark.parametrize("name", READ)
def test_files_of_another_run_are_read_by_the_library_alone(tmp_path, name):
    write, read = READ[name]
    job()
    write(tmp_path / "results/r/a" / name)
    shutil.copytree(tmp_path / "results/r", tmp_path / "results/renamed")
    shutil.copytree(tmp_path / "results/r", tmp_path / "copied")
    job("renamed")
    with pytest.raises(InputError, match=rf"results/renamed/a/{name}: was written as results/r/a/{name}"):
        read(tmp_path / "results/renamed/a" / name)
    read(tmp_path / "copied/a" / name)  # no file of a run
    making.set(None)
    read(tmp_path / "results/renamed/a" / name)


def test_a_file_that_does_not_say_where_it_belongs_is_no_input_of_a_job(tmp_path):
    write_scores_of(tmp_path / "copied.parquet")
    path = tmp_path / "results/r/0.parquet"
    path.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "copied.parquet", path)
    job()
    with pytest.raises(InputError, match="does not say for which place it was written"):
        read_parquet(path)


def test_what_was_drawn_with_another_seed_is_refused(tmp_path):
    path = tmp_path / "results/r/tokens.parquet"
    job(seed=3, noise=0.1)
    begin_job("tokenize", {"run": "r"}, {"seed": 3}, [], [], 3)
    write_scores_of(path)
    read_parquet(path)
    job(seed=4)
    with pytest.raises(InputError, match=r"tokens\.parquet: drawn with seed 3, but the config's is 4"):
        read_parquet(path)
    begin_job("learn", {"run": "r", "seed": "7"}, {"seed": 7}, [], [], 3)  # a seed by name
    write_scores_of(path)
    job(seed=4)
    read_parquet(path)


def write_tokens(path, ids, first):
    tokens = np.arange(first, first + 2 * len(ids), dtype=np.uint16).reshape(-1, 2)
    write_parquet(path, {"image_id": ids, "tokens": fixed_size_list(tokens)}, tokens_schema(2), {})
    return str(path)


def test_tokens_are_those_of_the_manifests_images_in_its_order(tmp_path):
    manifest = tmp_path / "manifest.parquet"
    write_parquet(
        manifest,
        {"image_id": ["a", "b", "c"], "label": [0, 1, 2], "path": ["", "", ""], "group": [None] * 3},
        MANIFEST,
        {},
    )
    one, two = write_tokens(tmp_path / "0.parquet", ["a", "b"], 0), write_tokens(tmp_path / "1.parquet", ["c"], 4)
    found = read_samples([one, two, one, two], 2, manifest)
    assert [sample.tolist() for sample in found] == [[[0, 1], [2, 3], [4, 5]]] * 2
    for paths in ([two, one], [one, two, two, one], [one, one]):
        with pytest.raises(InputError, match=r"\.parquet: holds other images than .*manifest\.parquet"):
            read_samples(paths, len(paths) // 2, manifest)
    assert image_ids(read_parquet(one)).tolist() == ["a", "b"]
