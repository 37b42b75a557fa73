"""A server on this machine that speaks as much of the Hugging Face hub as huggingface_hub needs."""

import contextlib
import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "0123456789" * 4
CONTENT = bytes(range(256)) * 90_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHUNK = 10 * 2**20  # bytes that huggingface_hub writes at a time
CUT = CHUNK + 1000


class Hub(BaseHTTPRequestHandler):
    """Has one file, owner/name/var.pth. Notes when that is asked for; breaks so many bodies off, after CUT bytes."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if self.path != f"/owner/name/resolve/{REVISION}/var.pth":
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.asked.append((self.command, start, self.headers.get("Authorization")))
        rest = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        for name, value in {"ETag": f'"{SHA256}"', "X-Repo-Commit": REVISION, "Content-Length": len(rest)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if body and self.server.broken:
            self.server.broken -= 1
            self.wfile.write(rest[:CUT])
            self.close_connection = True
        elif body:
            self.wfile.write(rest)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served():
    """The server, in a thread of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.broken = [], 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def environment(server, home):
    """The environment of a user with a home of their own, for whom the server is the hub."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_", "HUGGING"))}
    return known | {"HOME": str(home), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
