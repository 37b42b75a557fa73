"""The files of a job that runs again are held until the new ones are whole."""

import errno
import os

import pytest

from varc.earlier import held, hold, let_go, put_back


@pytest.fixture(params=["links", "none"])
def file(tmp_path, request, monkeypatch):
    """A file, where there are hard links and where there are none."""
    if request.param == "none":

        def link(source, target):
            if not os.path.exists(source):
                raise FileNotFoundError
            raise FileExistsError if os.path.exists(target) else OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    path = tmp_path / "var.safetensors"
    path.write_text("old")
    os.utime(path, ns=(5, 5))
    return path


def test_a_held_file_comes_back_as_it_was(file):
    assert hold(file)
    file.unlink()
    assert put_back(file)
    assert file.read_text() == "old" and os.stat(file).st_mtime_ns == 5
    assert os.listdir(file.parent) == [file.name]


def test_a_half_new_file_gives_way_to_the_held_one(file):
    assert hold(file)
    file.unlink()
    file.write_text("half")
    assert put_back(file) and file.read_text() == "old"


def test_what_a_killed_run_held_stays_held(file):
    assert hold(file)
    file.unlink()
    assert hold(file)  # by the next run
    file.write_text("half")
    assert hold(file)
    assert put_back(file) and file.read_text() == "old"


def test_nothing_is_put_back_after_a_job_has_ended(file):
    assert hold(file)
    file.unlink()
    file.write_text("new")
    let_go(file)
    assert not put_back(file) and file.read_text() == "new"
    assert os.listdir(file.parent) == [file.name]


def test_what_was_never_there_is_not_held(tmp_path):
    assert not hold(tmp_path / "a")
    let_go(tmp_path / "a")
    assert not put_back(tmp_path / "a") and not os.listdir(tmp_path)


def test_a_file_whose_job_never_began_stays(tmp_path):
    (tmp_path / "a").write_text("old")
    assert hold(tmp_path / "a")
    assert not put_back(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "old" and not held(tmp_path / "a").exists()
