"""Damaged inputs of every reader: a few, or as many as FUZZ says (make fuzz)."""

import os
from collections import Counter

import pytest
from fuzz.damage import CLASSES, SOURCES, fuzz, outcome

INPUTS, SEED = int(os.environ.get("FUZZ", "10")), int(os.environ.get("SEED", "0"))


@pytest.mark.parametrize("reader", SOURCES)
def test_damaged_sources_are_read_or_refused_by_one_line(reader):
    taken = Counter(how for _, how in fuzz(reader, INPUTS, SEED))
    print(f"{reader}: {INPUTS} inputs, {taken['read']} read, {taken['refused']} refused")
    assert taken.total() == INPUTS and taken["refused"]


@pytest.mark.parametrize("reader", SOURCES)
def test_a_sound_source_is_read(reader, tmp_path):
    keys, writers = SOURCES[reader]
    (tmp_path / "classes.csv").write_text(CLASSES)
    for i, writer in enumerate(writers):
        root = tmp_path / str(i)
        root.mkdir()
        writer(root)
        below = {key: str(root / value) for key, value in keys.items() if key in {"labels", "root"}}
        given = {"reader": reader, "root": str(root), "classes": str(tmp_path / "classes.csv"), **keys, **below}
        assert outcome(given) == "read"
