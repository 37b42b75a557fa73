"""A headless Chromium, driven through a pipe by the DevTools protocol (https://chromedevtools.github.io)."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import time

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: apt install chromium)")
# One process for the page and what it embeds, as root too; nothing of the browser's own goes out.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-features=IsolateOrigins,site-per-process", "--disable-site-isolation-trials", "--remote-debugging-pipe",
    "--window-size=1500,1200",
)  # fmt: skip
PATIENCE = 120  # seconds for what takes less than one on an idle machine


class Page:
    """A page in a browser. requests: the addresses of all that it and its frames asked for; errors: of its scripts."""

    def __init__(self, read, write):
        self.read, self.write, self.buffer, self.last = read, write, b"", 0
        self.requests, self.errors, self.contexts = [], [], {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    session = None

    def call(self, method, **params):
        """The result of a command; notes what the browser tells meanwhile."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            found = self.next()
            if found.get("id") == self.last:
                assert "error" not in found, found
                return found["result"]
            self.note(found.get("method"), found.get("params"))

    def next(self):
        """The next message of the browser."""
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], PATIENCE)
            part = os.read(self.read, 1 << 20) if ready else b""
            assert part, "the browser is gone, or says nothing"
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def note(self, method, params):
        """Keeps what an event tells."""
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif method == "Runtime.executionContextCreated":
            self.contexts[params["context"]["auxData"]["frameId"]] = params["context"]["id"]

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState == 'complete'")

    def ask(self, script, frame=None):
        """What a script gives in the page, or in the innermost frame that its frames hold."""
        known = {"contextId": self.contexts[frame]} if frame else {}
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, **known)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def frame(self):
        """The frame that the page embeds, once it is there."""
        return self.until(
            lambda: next(
                (child["frame"]["id"] for child in self.tree().get("childFrames", [])
                 if child["frame"]["id"] in self.contexts), None,
            )
        )  # fmt: skip

    def tree(self):
        return self.call("Page.getFrameTree")["frameTree"]

    def wait(self, script, frame=None):
        """Waits until a script gives something true, and returns it."""
        return self.until(lambda: self.ask(script, frame))

    def until(self, found):
        end = time.monotonic() + PATIENCE
        while not (value := found()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.1)
        return value

    def leaving(self):
        """The requests that ask for more than the file itself and what it holds."""
        inside = ("file:", "data:", "blob:", "about:")
        return [url for url in self.requests if not url.startswith(inside)]


@contextlib.contextmanager
def browser(folder):
    """A page of a new browser, whose files lie in a folder; it ends with the block."""
    theirs_read, write = os.pipe()
    read, theirs_write = os.pipe()
    # The protocol is read from descriptor 3 and written to 4.
    command = f"exec {CHROMIUM} {' '.join(OPTIONS)} --user-data-dir={folder} 3<&{theirs_read} 4>&{theirs_write}"
    process = subprocess.Popen(
        ["bash", "-c", command], pass_fds=(theirs_read, theirs_write), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_read)
    os.close(theirs_write)
    try:
        yield Page(read, write)
    finally:
        process.kill()
        process.wait()
        os.close(read)
        os.close(write)
