"""Files that appear whole or not at all."""

import errno
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch

from varc.errors import InputError, in_one_line
from varc.files import check_sha256, file_sha256, joined_sha256, unchanged, whole, write_text
from varc.logs import job_log
from varc.metrics.tables import write_table
from varc.models.weights import save_tensors
from varc.training.curves import plot_curve, write_curve

CURVE = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
WRITERS = {
    "table.csv": lambda path: write_table(pd.DataFrame(CURVE), path, path.with_suffix(".md"), "Losses."),
    "curve.csv": lambda path: write_curve(path, CURVE),
    "curve.svg": lambda path: plot_curve(path, CURVE, "loss", "nats", "validation_loss"),
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


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_on_the_disk_before_its_name_is_and_its_name_before_the_job_ends(tmp_path, monkeypatch, name):
    """As strace would show it: the file synced, renamed, its folder synced, in this order."""
    calls, names, sync, replace = [], {}, os.fsync, os.replace

    def synced(opened):
        calls.append(("fsync", names.get(os.fstat(opened).st_ino, os.readlink(f"/proc/self/fd/{opened}"))))
        sync(opened)

    def replaced(source, target):
        calls.append(("rename", str(source), str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    WRITERS[name](tmp_path / name)
    assert calls[:3] == [
        ("fsync", calls[1][1]),
        ("rename", calls[1][1], str(tmp_path / name)),
        ("fsync", str(tmp_path)),
    ]
    assert len(calls) % 3 == 0


WRITE = """
import sys
from pathlib import Path
from varc.seal import write_json
from varc.storage import CANDIDATES, write_parquet
columns = {"image_id": ["a"], "class_id": [1], "rank": [1], "score": [0.5]}
write_parquet(Path(sys.argv[1]) / "a.parquet", columns, CANDIDATES, {})
write_json(Path(sys.argv[1]) / "b.json", {"a": 1})
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_kernel_is_asked_to_sync_before_and_after_each_rename(tmp_path):
    traced = ["strace", "-f", "-y", "-e", "trace=fsync,rename", "-o", tmp_path / "calls"]
    done = subprocess.run([*traced, sys.executable, "-c", WRITE, tmp_path], capture_output=True, text=True)
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    calls = [line.split(maxsplit=1)[1] for line in (tmp_path / "calls").read_text().splitlines() if "(" in line]
    for name in ("a.parquet", "b.json"):
        at = next(i for i, call in enumerate(calls) if call.startswith("rename") and call.split('"')[3].endswith(name))
        temporary = re.escape(calls[at].split('"')[1])
        assert re.match(rf"fsync\(\d+<{temporary}>\) += 0", calls[at - 1]), calls
        assert re.match(rf"fsync\(\d+<{re.escape(str(tmp_path))}>\) += 0", calls[at + 1]), calls


def test_a_disk_that_cannot_keep_a_file_keeps_none(tmp_path, monkeypatch):
    def broken(opened):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(InputError, match=r"a\.txt: cannot be written .*Input/output error"):
        write_text(tmp_path / "a.txt", "x")
    assert not os.listdir(tmp_path)


def in_place(path):
    path.write_text("b")


def by_rename(path):
    path.with_name("new").write_text("a")
    os.replace(path.with_name("new"), path)


def in_place_with_its_time_put_back(path):
    before = path.stat()
    path.write_text("b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [in_place, by_rename, in_place_with_its_time_put_back, lambda path: path.unlink()])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, change):
    (tmp_path / "a").write_text("a")
    with unchanged([tmp_path / "a"]):
        (tmp_path / "a").read_text()
    with pytest.raises(InputError, match=r"a: was changed while it was read"), unchanged([tmp_path / "a"]):
        change(tmp_path / "a")


def test_a_digest_that_is_not_the_expected_one_is_named(tmp_path):
    (tmp_path / "a").write_text("a")
    found = file_sha256(tmp_path / "a")
    check_sha256(tmp_path / "a", found, found)
    check_sha256(tmp_path / "a", found, None)
    with pytest.raises(InputError, match=rf"a has SHA-256 {found}, but {'f' * 64} is expected"):
        check_sha256(tmp_path / "a", found, "f" * 64)


def test_several_files_have_one_digest_wherever_they_lie():
    digests = {"checkpoints/gpt.pt": "a", "../x/vq.pt": "b"}
    moved = {"/home/x/vq.pt": "b", "/home/p/checkpoints/gpt.pt": "a"}
    assert joined_sha256(digests) == joined_sha256(moved) != joined_sha256({"gpt.pt": "b", "vq.pt": "a"})
