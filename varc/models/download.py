"""Checkpoints from the Hugging Face hub, at a pinned revision."""

import os
import shutil
import urllib.request
from pathlib import Path
from urllib.parse import quote

from varc.errors import InputError
from varc.files import file_sha256

HUB = "https://huggingface.co"


def download(path: str | Path, repo: str, revision: str, sha256: str, hub: str = HUB) -> str:
    """Downloads the file of the same name from a repository to `path`, whole or not at all; returns its URL.

    Raises InputError where it cannot be had, or has another SHA-256.
    """
    path = Path(path)
    url = f"{hub}/{repo}/resolve/{revision}/{quote(path.name)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with urllib.request.urlopen(url, timeout=60) as source, open(temporary, "wb") as file:
            shutil.copyfileobj(source, file, 2**20)
        found = file_sha256(temporary)
        if found != sha256:
            raise InputError(f"{url}: has SHA-256 {found}, but the config says {sha256}; check repo and revision")
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{url}: cannot be downloaded ({error}); put the file at {path} by hand") from None
    finally:
        temporary.unlink(missing_ok=True)
    return url
