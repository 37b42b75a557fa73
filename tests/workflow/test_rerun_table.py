"""The tables of config/README.md are true, and have every key."""

import json

import pytest
from job_graph import jobs, rerun
from rerun_table import changes, done_jobs, finished, key_of, read_keys, resolved, table, written
from snakemake_runs import plan, write_config

from workflow.config import document

pytestmark = pytest.mark.long  # whole runs


def test_the_table_has_every_key():
    assert {key_of(path) for path in changes(read_keys())} == document.keys()


def test_the_keys_and_the_schema_are_those_of_the_types():
    readme = document.README.read_text()
    assert document.with_table(readme) == readme, "config/README.md is out of date; run `make schema`"
    assert json.loads(document.SCHEMA.read_text()) == document.schema(), "the schema is out of date; run `make schema`"


def test_every_key_has_a_meaning():
    told = {tuple(part for part in key if part != "\\<name\\>") for key, _, _ in document.rows(document.Config)}
    every = document.keys()
    assert {key for key in every if key not in told and key[:-1] not in told} == set()


def test_what_comes_from_a_checkpoint_reruns_with_its_sha256_and_not_with_where_it_comes_from():
    rows = {row.split(" | ")[0]: row for row in written().splitlines()}
    for part, rule in (("vqvae", "encode"), ("var", "score")):
        (row,) = (row for key, row in rows.items() if key.startswith("| models: sha256:") and f"`{part}`" in key)
        assert f"`{rule}`" in row and "`download`" in row
    assert rows["| models: hub: `repo`, `revision`"].endswith("| `download` |")


def test_the_table_follows_from_the_jobs():
    assert written() == table(), "config/README.md is out of date; run `make rerun-table`"


CONTROL = [  # of every way in which a change comes to a job: outputs, inputs, parameters, what others make
    ("seed",),
    ("published",),
    ("datasets", "pictures", "size"),
    ("models", "hub", "hub", "revision"),
    ("classifiers", "a_varc", "funnel", 0, "keep"),
    ("classifiers", "adaptive", "funnel", 0, "adaptive", "alpha"),
    ("baselines", "dit", "family"),
    ("explain", 0, "faithfulness", "steps"),
]


def test_dry_runs_say_the_same_as_the_jobs(tmp_path):
    config = read_keys()
    project = finished(tmp_path, config)
    before = done_jobs(tmp_path, config)
    for path in CONTROL:
        after = resolved(config, path)
        found = plan(project, "--configfile", write_config(project, after)).jobs
        assert found == rerun(before, jobs(tmp_path, after)), path
