"""Where a job's messages go: progress to the terminal and the log, expected errors as one line."""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from varc.errors import InputError

logger = logging.getLogger("varc")


@contextmanager
def job_log(path: str | Path, name: str) -> Iterator[logging.Logger]:
    """Logs to the file and the terminal while the block runs.

    An InputError ends the process with status 1: its message goes to the terminal, the traceback to the file only.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, mode="w", encoding="utf-8")
    file.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk stops outputs, not messages
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter(f"[{name}] %(message)s"))
    logger.handlers[:] = [file, terminal]
    logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers[:] = [file]
    try:
        yield logger
    except InputError as error:
        logger.error("error: %s", error)
        file.emit(logging.makeLogRecord({"msg": traceback.format_exc(), "levelname": "ERROR"}))
        raise SystemExit(1) from None
    finally:
        with suppress(OSError):
            file.close()
