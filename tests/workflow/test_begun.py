"""Weights are those that the run began with: a job expects them, whatever lies there meanwhile."""

import os

import pytest
from configs import DIGITS, begun
from parity import models
from torch import save

from varc.errors import InputError
from varc.models.var_weights import read_var
from workflow import sources
from workflow.record import keep
from workflow.start import start

PUBLIC = {"vqvae": "vae.pth", "var": "var.pth"}
CONFIG = DIGITS | {
    "run": "public",
    "models": {"public": PUBLIC},
    "classifiers": {"varc": {"model": "public", "funnel": [{"scales": 10, "keep": 1}]}},
    "evaluate": [{"datasets": ["digits"], "classifiers": ["varc"]}],
}
del CONFIG["ablation"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part, model in zip(("vqvae", "var"), models(), strict=True):
        save(model.state_dict(), PUBLIC[part])
    (tmp_path / "config").mkdir()
    (tmp_path / "config/published.csv").write_text("dataset,classifier,top1,gflops\n")
    sources.digests_as_begun.cache_clear()
    return tmp_path


def known(study):
    return study.run.checkpoints.checkpoint("public", "var")


def replace_var(folder, time=None):
    """Other weights under the same name, of the same size, and with another's time."""
    content, new = bytearray((folder / "var.pth").read_bytes()), folder / "new.pth"
    content[len(content) // 2] ^= 1  # of a weight, the last bit
    new.write_bytes(content)
    if time:
        os.utime(new, ns=(time.st_atime_ns, time.st_mtime_ns))
    os.replace(new, folder / "var.pth")


def test_a_checkpoint_replaced_in_mid_run_is_refused_by_the_next_job(folder):
    study = begun(CONFIG)
    keep(study.run, CONFIG, folder, [], [])  # a real run begins
    assert read_var("var.pth", known(start([], CONFIG, job=True)))
    replace_var(folder)
    with pytest.raises(InputError, match=r"var\.pth has SHA-256 .* is expected, by the config or as the run began"):
        read_var("var.pth", known(start([], CONFIG, job=True)))
    again = begun(CONFIG)  # the next run begins with what is there
    assert known(again) != known(study)
    assert read_var("var.pth", known(again))


def test_size_and_time_are_not_believed(folder):
    before = os.stat("var.pth")
    first = sources.file_sha256("var.pth")
    replace_var(folder, before)
    assert (os.stat("var.pth").st_size, os.stat("var.pth").st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert sources.file_sha256("var.pth") != first


@pytest.mark.parametrize("damage", ["", "{", '{"x": 1}', "[]"])
def test_damaged_digests_are_made_again(folder, damage):
    first = sources.file_sha256("var.pth")
    sources.DIGESTS.write_text(damage)
    assert sources.file_sha256("var.pth") == first


def test_a_damaged_beginning_is_named(folder):
    study = begun(CONFIG)
    keep(study.run, CONFIG, folder, [], [])
    sources.begun("public").write_text("{}")
    with pytest.raises(InputError, match=r"varc_begun/public\.json: damaged"):
        start([], CONFIG, job=True).run.checkpoints.vqvaes  # noqa: B018
