"""Where a job's messages go: progress to the terminal and the log, expected errors as one line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from varc.errors import InputError, in_one_line

logger = logging.getLogger("varc")


class OneLine(logging.Formatter):
    """A message in one line, and an exception's lines after it, without what would steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        shown = logging.makeLogRecord({**vars(record), "msg": in_one_line(record.getMessage()), "args": None})
        return super().format(shown)

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(in_one_line, super().formatException(ei).split("\n")))


@contextmanager
def job_log(path: str | Path, name: str) -> Iterator[logging.Logger]:
    """Logs to the file and the terminal while the block runs.

    An InputError ends the process with status 1: its message goes to the terminal, the traceback to the file only.
    Ctrl-C ends it with status 130, and without a word on the terminal.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, mode="w", encoding="utf-8")
    file.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk stops outputs, not messages
    file.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(OneLine(f"[{name}] %(message)s"))
    logger.handlers[:] = [file, terminal]
    logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers[:] = [file]
    try:
        yield logger
    except InputError as error:
        logger.error("error: %s", error)
        file.emit(logging.makeLogRecord({"msg": "where:", "levelname": "ERROR", "exc_info": sys.exc_info()}))
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # whoever pressed Ctrl-C knows; the next run goes on from what was saved
        file.emit(logging.makeLogRecord({"msg": "interrupted", "levelname": "INFO"}))
        raise SystemExit(130) from None
    except Exception:  # a fault of ours; what it says may hold text from elsewhere
        logger.exception("stopped by")
        raise SystemExit(1) from None
    finally:
        with suppress(OSError):
            file.close()
