"""Checkpoints from the Hugging Face hub, at a pinned revision."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from varc.errors import InputError
from varc.files import file_sha256, led_out

STAGING = ".hub"  # beside the checkpoints: where huggingface_hub writes, until a file is whole and checked


def download(path: str | Path, repo: str, revision: str, sha256: str) -> str:
    """Downloads the file of the same name from a repository to `path`, whole or not at all; returns its URL.

    HF_ENDPOINT and HF_TOKEN are heeded; where a connection breaks off, it goes on from there. Raises InputError where
    the file cannot be had, has another SHA-256, or would lie elsewhere by a link.
    """
    path, url = Path(path), f"{repo}/{revision}"
    staging = path.parent / STAGING / sha256
    for place in (path, staging):
        if message := led_out(place, path.parent):
            raise InputError(message)
    try:
        hub = library()
        url = hub.hf_hub_url(repo, path.name, revision=revision)
        cache = staging / "cache"
        got = hub.hf_hub_download(repo, path.name, revision=revision, local_dir=staging, cache_dir=cache)
        if (found := file_sha256(got)) != sha256:
            raise InputError(f"{url}: has SHA-256 {found}, but the config says {sha256}; check repo and revision")
        os.replace(got, path)
    except InputError:
        raise
    except Exception as error:  # of the network, of HTTP, of the disk: several libraries, each with its own
        raise InputError(f"{url}: cannot be downloaded ({error}); put the file at {path} by hand") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with suppress(OSError):  # another download may be under way
            staging.parent.rmdir()
    return url


def library() -> Any:
    """huggingface_hub, without what would write below the home folder: Xet's cache and logs."""
    os.environ["HF_HUB_DISABLE_XET"] = "1"  # read as it is imported
    import huggingface_hub

    return huggingface_hub
