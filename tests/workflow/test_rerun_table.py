"""The table "What makes a job rerun" is true, and has every key."""

import yaml
from rerun_table import SCHEMA, changes, key_of, read_keys, schema_keys, table, written


def test_the_table_has_every_key_of_the_schema():
    schema = yaml.safe_load(SCHEMA.read_text())
    assert {key_of(path) for path in changes(read_keys())} == schema_keys(schema, schema)


def test_the_table_is_what_dry_runs_say():
    assert written() == table(), "config/README.md is out of date; run `make rerun-table`"
