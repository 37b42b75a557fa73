"""Files that appear whole or not at all."""

import errno
import os

import pandas as pd
import pytest
import torch

from varc.errors import InputError, in_one_line
from varc.files import whole, write_text
from varc.logs import job_log
from varc.metrics.tables import write_table
from varc.models.weights import save_tensors
from varc.training.curves import plot_curve, write_curve

CURVE = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
WRITERS = {
    "table.csv": lambda path: write_table(pd.DataFrame(CURVE), path, path.with_suffix(".md"), "Losses."),
    "curve.csv": lambda path: write_curve(path, CURVE),
    "curve.svg": lambda path: plot_curve(path, CURVE, "loss", "nats"),
    "note.json": lambda path: write_text(path, "{}"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_write_that_fails_at_its_end_changes_nothing(tmp_path, monkeypatch, name):
    path = tmp_path / "deep" / name
    WRITERS[name](path)
    assert path.stat().st_size > 1
    path.write_text("before")
    names = sorted(os.listdir(path.parent))

    def full(source, target):
        assert os.path.getsize(source) > 1
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=rf"{name}: cannot be written .*No space left on device"):
        WRITERS[name](path)
    assert path.read_text() == "before" and sorted(os.listdir(path.parent)) == names


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_twice_is_the_same_to_the_byte(tmp_path, name):
    for folder in ("one", "other"):
        WRITERS[name](tmp_path / folder / name)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_an_error_in_a_write_is_that_error_and_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), whole(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyError("a mistake of the program")
    assert not os.listdir(tmp_path)


def test_tensors_that_cannot_be_written_are_an_error_of_the_disk(tmp_path):
    with pytest.raises(OSError, match="such file"):
        save_tensors({"a": torch.zeros(1)}, tmp_path / "absent" / "a.safetensors")


def test_a_job_goes_on_where_its_log_cannot_be_written(monkeypatch, capsys):
    """/dev/full takes no byte, as a full disk."""
    with job_log("/dev/full", "score") as log:
        log.info("a line")
    captured = capsys.readouterr().err
    assert "[score] a line" in captured and "Traceback" not in captured


def test_names_in_messages_cannot_break_a_line_or_a_terminal(tmp_path, capsys):
    with pytest.raises(SystemExit), job_log(tmp_path / "log", "score"):
        raise InputError("a\nb\x1b[2J: no such file")
    assert "[score] error: a\\nb\\x1b[2J: no such file\n" in capsys.readouterr().err
    assert in_one_line("ünï 画像") == "ünï 画像"
