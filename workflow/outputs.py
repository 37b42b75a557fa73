"""Where rules write: below results/<run>/ and checkpoints/ alone, whatever a config says and whichever links are there.

results/, results/<run> and checkpoints/ may themselves be links, as to a cluster's scratch disk.
"""

import os
import re
from collections.abc import Iterable, Iterator

from varc.files import led_out
from varc.models.download import STAGING
from workflow.config.models import CHECKPOINTS


def outside(patterns: Iterable[str], folder: str, downloads: Iterable[str]) -> str | None:
    """A message for the first path that a rule would write elsewhere, or that leads elsewhere by a link; or None.

    patterns: outputs and logs of all rules. folder: of the run. downloads: names below checkpoints/.
    """
    for pattern in patterns:
        plain = re.sub(r"\{run,[^{}]*\}", "{run}", pattern)  # Snakemake writes what a wildcard may be into it
        if not plain.startswith((f"{folder}/", "results/{run}/", f"{CHECKPOINTS}/")) or ".." in plain.split("/"):
            return f"{pattern}: a rule would write there, which is neither below {folder} nor below {CHECKPOINTS}"
    links = (led_out(f"{CHECKPOINTS}/{name}", CHECKPOINTS) for name in sorted({STAGING, *downloads}))
    return next(unsafe(folder), None) or next(filter(None, links), None)


def unsafe(folder: str) -> Iterator[str]:
    """What below a folder leads out of it by a link, or would be waited for: pipes, sockets, devices."""
    waiting = [folder]
    while waiting:
        try:
            entries = sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name)
        except OSError:  # absent, or not to be read: who writes there says so
            continue
        for entry in entries:
            if entry.is_symlink():
                if message := led_out(entry.path, folder):
                    yield message
            elif entry.is_dir():
                waiting.append(entry.path)
            elif not entry.is_file():
                yield f"{entry.path}: is no file, but a pipe, a socket or a device; take it away"
