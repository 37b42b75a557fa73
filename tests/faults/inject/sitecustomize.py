"""Ends a job by SIGTERM in the middle of a write: the first write of a file whose path holds VARC_TERM.

Python imports this module at its start where its folder is in PYTHONPATH. A file is cut in half first, under its
temporary name, so that whoever would read it then would notice.
"""

import os
import signal

WANTED, DONE = os.environ.get("VARC_TERM"), os.environ.get("VARC_TERM_DONE")
replace = os.replace


def replace_or_end(source, target, **options):
    if WANTED in str(target) and str(source).endswith(".tmp") and not os.path.exists(DONE):
        os.close(os.open(DONE, os.O_CREAT))
        os.truncate(source, os.path.getsize(source) // 2)
        os.kill(os.getpid(), signal.SIGTERM)
    return replace(source, target, **options)


if WANTED and DONE:
    os.replace = replace_or_end
