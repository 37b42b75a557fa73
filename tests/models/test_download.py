"""Downloads, from a server on this machine."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from varc.errors import InputError
from varc.models.download import download

REVISION = "0123456789" * 4
CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "hub" / "owner" / "name" / "resolve" / REVISION
    folder.mkdir(parents=True)
    (folder / "var d16.pth").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "hub")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_checkpoint_comes_from_the_pinned_revision(hub, tmp_path):
    path = tmp_path / "checkpoints" / "var d16.pth"
    url = download(path, "owner/name", REVISION, SHA256, hub)
    assert url == f"{hub}/owner/name/resolve/{REVISION}/var%20d16.pth"
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("repo", "sha256", "message"),
    [
        ("owner/name", "0" * 64, "has SHA-256 .* but the config says 000"),
        ("owner/other", SHA256, "cannot be downloaded"),
    ],
)
def test_what_is_not_the_named_file_is_not_kept(hub, tmp_path, repo, sha256, message):
    path = tmp_path / "checkpoints" / "var d16.pth"
    with pytest.raises(InputError, match=message):
        download(path, repo, REVISION, sha256, hub)
    assert list(path.parent.iterdir()) == []
