"""Downloads, from a server on this machine."""

import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import CHUNK, CONTENT, REVISION, SHA256, environment, served

ROOT = Path(__file__).parents[2]
DOWNLOAD = """
import sys
from varc.errors import InputError
from varc.models.download import download
try:
    print(download(*sys.argv[1:]))
except InputError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture
def hub():
    with served() as server:
        yield server


def download(hub, folder, repo="owner/name", sha256=SHA256, name="checkpoints/var.pth", **given):
    """Downloads with a home of its own; (exit status, output)."""
    (folder / "home").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", DOWNLOAD, name, repo, REVISION, sha256],
        cwd=folder,
        env=environment(hub, folder / "home") | {"PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_checkpoint_comes_from_the_pinned_revision_and_nothing_else_is_written(hub, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    code, output = download(hub, tmp_path, HF_TOKEN="hf_secret")
    assert (code, hub.asked[-1][2]) == (0, "Bearer hf_secret"), output
    assert f"http://127.0.0.1:{hub.server_port}/owner/name/resolve/{REVISION}/var.pth" in output
    assert (tmp_path / "checkpoints/var.pth").read_bytes() == CONTENT
    assert files(tmp_path) == ["checkpoints/var.pth"]


def test_a_download_that_breaks_off_goes_on_from_there(hub, tmp_path):
    hub.broken = 2
    code, output = download(hub, tmp_path)
    assert code == 0, output
    assert [start for command, start, _ in hub.asked if command == "GET"] == [0, CHUNK, 2 * CHUNK]
    assert (tmp_path / "checkpoints/var.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("repo", "sha256", "message"),
    [
        ("owner/name", "0" * 64, f"has SHA-256 {SHA256}, but the config says 000"),
        ("owner/other", SHA256, "cannot be downloaded"),
        ("../../name", SHA256, "cannot be downloaded"),
        ("https://127.0.0.1:1/x", SHA256, "cannot be downloaded"),
    ],
)
def test_what_is_not_the_named_file_is_not_kept(hub, tmp_path, repo, sha256, message):
    code, output = download(hub, tmp_path, repo, sha256)
    assert code == 1 and message in output and "Traceback" not in output
    assert files(tmp_path) == []


@pytest.mark.parametrize("link", ["var.pth", ".hub", f".hub/{SHA256}"])
def test_a_link_that_leads_out_is_not_followed(hub, tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "target").mkdir()
    place = tmp_path / "checkpoints" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / "target")
    code, output = download(hub, tmp_path)
    assert code == 1 and "out of checkpoints;" in output and "Traceback" not in output
    assert files(outside) == [] and hub.asked == []


def test_the_folder_of_checkpoints_may_be_a_link(hub, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "scratch")
    code, output = download(hub, tmp_path)
    assert code == 0, output
    assert (tmp_path / "scratch/var.pth").read_bytes() == CONTENT
