"""The table "What makes a job rerun" is true, and has every key."""

import yaml
from rerun_table import SCHEMA, changes, key_of, read_keys, schema_keys, table, written


def test_the_table_has_every_key_of_the_schema():
    schema = yaml.safe_load(SCHEMA.read_text())
    assert {key_of(path) for path in changes(read_keys())} == schema_keys(schema, schema)


def test_what_comes_from_a_checkpoint_reruns_with_its_sha256_and_not_with_where_it_comes_from():
    rows = {row.split(" | ")[0]: row for row in written().splitlines()}
    for part, rule in (("vqvae", "encode"), ("var", "score")):
        (row,) = (row for key, row in rows.items() if key.startswith("| models: sha256:") and f"`{part}`" in key)
        assert f"`{rule}`" in row and "`download`" in row
    assert rows["| models: hub: `repo`, `revision`"].endswith("| `download` |")


def test_the_table_is_what_dry_runs_say():
    assert written() == table(), "config/README.md is out of date; run `make rerun-table`"
