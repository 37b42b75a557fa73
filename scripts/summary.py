"""Snakemake as make's targets run it: jobs by rule, one line of progress, whatever is wrong, and where the logs are.

`python -m scripts.summary ...` takes Snakemake's arguments. It is a logger plugin of Snakemake, and stands between jobs
and the terminal: the last line of a job is part of the progress, its errors are shown as they are.
"""

import signal

if __name__ == "__main__":  # Ctrl-C while libraries are imported
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import logging
import os
import re
import statistics
import sys
import threading
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

NAME = "summary"
SECONDS = 60.0  # between two lines of progress, where no terminal rewrites one
OF_A_JOB = re.compile(r"\[(?P<job>\w+[^\]]*)\] (?P<text>.*)")  # a line as varc.logs writes it
WRONG = ("error: ", "stopped by")  # how its lines begin that a user must see


class Left:
    """How long the jobs of a run still take: what the plan says, and for each what others took beyond that (to start,
    most of all; the median).

    planned: job -> seconds, 0 for those that are not planned. Trainings are not, and count as little as those.
    """

    def __init__(self, planned: Mapping[int, float]):
        self.waiting, self.begun = dict(planned), dict[int, float]()
        self.beyond: list[float] = []
        self.took, self.busy, self.since = 0.0, 0.0, 0.0  # of all jobs together; while one ran or more, up to a time

    def begin(self, job: int, now: float) -> None:
        self.pass_time(now)
        self.begun[job] = now

    def end(self, job: int, now: float) -> None:
        if job in self.begun:
            self.pass_time(now)
            seconds = now - self.begun.pop(job)
            self.took += seconds
            self.beyond.append(seconds - self.waiting.pop(job, 0.0))

    def fail(self, job: int, now: float) -> None:
        self.pass_time(now)
        self.begun.pop(job, None)

    def pass_time(self, now: float) -> None:
        self.busy += now - self.since if self.begun else 0.0
        self.since = now

    def seconds(self, now: float) -> float | None:
        """None where the plan knows of nothing that is left."""
        if not any(self.waiting.values()):
            return None
        each = max(0.0, statistics.median(self.beyond)) if self.beyond else 0.0
        left = {job: planned + each for job, planned in self.waiting.items()}
        begun = sum(min(now - start, left.get(job, 0.0)) for job, start in self.begun.items())
        at_once = max(1.0, self.took / self.busy) if self.busy else 1.0
        return (sum(left.values()) - begun) / at_once


class Screen:
    """Lines, and below them on a terminal one that is written anew; elsewhere a line of progress a minute."""

    def __init__(self, stream: Any):
        self.stream, self.lock = stream, threading.RLock()
        self.width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
        self.latest, self.next = "", 0.0

    def line(self, text: str) -> None:
        """Shows a text for good."""
        with self.lock:
            self.write(f"{text}\n")
            if self.width and self.latest:
                self.write(self.latest[: self.width - 1])

    def progress(self, text: str) -> None:
        """Shows how far the run is."""
        with self.lock:
            self.latest = text
            if self.width:
                self.write(text[: self.width - 1])
            elif time.monotonic() >= self.next:
                self.next = time.monotonic() + SECONDS
                self.write(f"{text}\n")

    def end(self) -> None:
        """Takes the line of progress away."""
        with self.lock:
            self.latest = ""
            self.write("")

    def write(self, text: str) -> None:
        self.stream.write(f"\r\x1b[K{text}" if self.width else text)
        self.stream.flush()


class Summary:
    """What is shown of a run."""

    def __init__(self, screen: Screen):
        self.screen, self.formatter = screen, DefaultFormatter()
        self.done = self.total = 0
        self.job = ""  # the last line of one
        self.logs: set[str] = set()
        self.left = Left({})
        self.interrupted = False

    def take(self, record: logging.LogRecord) -> None:
        """A message of Snakemake."""
        if self.interrupted and record.levelno >= logging.WARNING and not own(record):
            return  # that jobs end by the signal is no news
        event, text, now = getattr(record, "event", None), str(record.msg or ""), time.monotonic()
        if event == LogEvent.RUN_INFO:
            self.total = record.stats["total"]
            rules = [f"{rule} {n}" for rule, n in record.stats.items() if rule != "total"]
            self.screen.line(f"Jobs: {self.total} ({', '.join(rules)})")
        elif event == LogEvent.JOB_INFO:
            self.logs |= {log.split("/logs/")[0] + "/logs" for log in record.log if "/logs/" in log}
            self.left.begin(record.jobid, now)
        elif event == LogEvent.JOB_ERROR:
            self.left.fail(record.jobid, now)
            self.screen.line(self.formatter.format(record))
        elif event == LogEvent.JOB_FINISHED:
            self.left.end(record.job_id, now)
        elif event == LogEvent.PROGRESS:
            self.done, self.total = record.done, record.total
            self.show()
        elif text.startswith("Complete log(s): "):
            self.screen.end()
            log = os.path.relpath(text.removeprefix("Complete log(s): "))
            self.screen.line(f"Jobs done: {self.done} of {self.total}. Logs: {', '.join([*sorted(self.logs), log])}")
        elif record.levelno >= logging.WARNING or own(record) or text.startswith("Nothing to be done"):
            self.screen.line(self.formatter.format(record))

    def take_line(self, line: str) -> None:
        """A line that a job, or a library, printed."""
        found = OF_A_JOB.fullmatch(line)
        if found and not found["text"].startswith(WRONG):
            self.job = f"{found['job']}: {found['text']}"
            self.show()
            return
        if not found:
            time.sleep(0.2)  # Ctrl-C reaches jobs and this process at once, and either may be the first to say so
        if not self.interrupted:
            self.screen.line(line)

    def show(self) -> None:
        """Shows how far the run is."""
        if self.interrupted:
            return
        seconds = self.left.seconds(time.monotonic())
        eta = "" if seconds is None else f", ETA {in_words(seconds)} by the plan"
        self.screen.progress(f"{self.done}/{self.total} jobs{eta}{' | ' if self.job else ''}{self.job}")


def own(record: logging.LogRecord) -> bool:
    """Whether the project's Snakefile says it."""
    return os.path.basename(record.pathname) == "Snakefile"


def in_words(seconds: float) -> str:
    """A time, as one says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plugin(summary: Summary) -> Any:
    """A logger plugin for Snakemake that shows a summary."""

    class LogHandler(LogHandlerBase):
        writes_to_stream = has_filter = has_formatter = True
        writes_to_file = needs_rulegraph = False

        def emit(self, record: logging.LogRecord) -> None:
            summary.take(record)

        def expect(self, planned: Mapping[int, float]) -> None:
            """What jobs will take, see Left; the Snakefile says so before they begin."""
            summary.left = Left(planned)

    return SimpleNamespace(LogHandler=LogHandler)


def main(arguments: list[str]) -> int:
    """Runs Snakemake; its exit status, 130 after Ctrl-C."""
    from snakemake.cli import main as snakemake

    terminal = os.fdopen(os.dup(2), "w")
    summary = Summary(Screen(terminal))
    reading, writing = os.pipe()
    os.dup2(writing, 2)  # for jobs too
    os.close(writing)

    def read() -> None:
        with os.fdopen(reading, errors="replace") as lines:
            for line in lines:
                summary.take_line(line.rstrip("\n"))

    def interrupt(number: int, frame: Any) -> None:
        summary.interrupted = True
        raise KeyboardInterrupt

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    signal.signal(signal.SIGINT, interrupt)
    LoggerPluginRegistry().register_plugin(f"snakemake_logger_plugin_{NAME}", plugin(summary))
    code = 1
    try:
        snakemake([f"--logger={NAME}", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:
        summary.screen.line("Interrupted; the same command goes on from here")
    os.dup2(terminal.fileno(), 2)  # the last to write into the pipe, unless a job is left
    reader.join(timeout=5)
    summary.screen.end()
    return 130 if summary.interrupted else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
