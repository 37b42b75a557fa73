"""What make's targets show of a run."""

import io
import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from scripts.summary import Left, Screen, Summary, in_words


def test_the_time_left_is_the_plans_and_what_jobs_take_beyond_it():
    left = Left({1: 10.0, 2: 30.0, 3: 20.0, 4: 0.0})
    assert left.seconds(0.0) == 60
    left.begin(1, 0.0)
    assert left.seconds(4.0) == 56
    left.end(1, 12.0)  # two seconds to start
    assert left.seconds(12.0) == 30 + 20 + 3 * 2
    left.begin(2, 12.0)
    left.begin(3, 12.0)
    left.end(3, 34.0)
    assert left.seconds(34.0) == pytest.approx((30 + 2 * 2 - 22) / ((12 + 22) / 34))
    left.end(2, 44.0)
    assert left.seconds(44.0) is None  # only what is not planned


def test_jobs_at_once_share_the_time_left():
    left = Left(dict.fromkeys(range(6), 10.0))
    for job in range(2):
        left.begin(job, 5.0)
    for job in range(2):
        left.end(job, 15.0)
    assert left.seconds(15.0) == 20


def test_without_rates_no_time_is_told():
    left = Left({1: 0.0})
    left.begin(1, 0.0)
    assert left.seconds(1.0) is None
    left.fail(1, 2.0)
    assert not left.beyond and not left.begun


def test_times_are_in_words():
    assert [in_words(seconds) for seconds in (89.6, 125, 9000)] == ["90 s", "2 min", "2.5 h"]


def record(text=None, event=None, level=logging.INFO, path="scheduler.py", **facts):
    return logging.makeLogRecord({"msg": text, "event": event, "levelno": level, "pathname": path, **facts})


@pytest.fixture
def shown():
    """A summary, and what it has shown."""
    stream = io.StringIO()
    summary = Summary(Screen(stream))
    return SimpleNamespace(summary=summary, text=stream.getvalue)


def begin(summary):
    stats = {"train_var": 1, "score": 2, "total": 3}
    summary.take(record("Building DAG of jobs..."))
    summary.take(record("Job stats: ...", LogEvent.RUN_INFO, stats=stats))
    log = ["results/r/logs/train_var/base.log"]
    summary.take(record("Rule: train_var", LogEvent.JOB_INFO, jobid=1, log=log, rule_name="train_var"))


def test_jobs_progress_and_logs_are_a_line_each(shown):
    begin(shown.summary)
    shown.summary.take_line("[train_var r base] step 50/1000, loss 3.2, 9.1 steps/s, ETA 104 s")
    shown.summary.take(record("Finished", LogEvent.JOB_FINISHED, job_id=1))
    shown.summary.take(record(None, LogEvent.PROGRESS, done=3, total=3))
    shown.summary.take(record("Complete log(s): .snakemake/log/a.log"))
    assert shown.text().splitlines() == [
        "Jobs: 3 (train_var 1, score 2)",
        "0/3 jobs | train_var r base: step 50/1000, loss 3.2, 9.1 steps/s, ETA 104 s",
        "Jobs done: 3 of 3. Logs: results/r/logs, .snakemake/log/a.log",
    ]


def test_errors_are_shown_as_they_are(shown):
    begin(shown.summary)
    for line in ("[score r base] error: disk full", "[score r base] stopped by", "Traceback (most recent call last):"):
        shown.summary.take_line(line)
    shown.summary.take(record("RuleException:\nfailed", LogEvent.ERROR, logging.ERROR))
    shown.summary.left.begin(1, 0.0)
    known = {"rule_name": "score", "jobid": 1, "input": ["a"], "output": ["b"], "log": ["results/r/logs/c.log"]}
    known |= {"conda_env": None, "shellcmd": None, "aux": {}}
    shown.summary.take(record(None, LogEvent.JOB_ERROR, logging.ERROR, **known))
    assert not shown.summary.left.begun
    shown.summary.take(record("tables/main.csv moved to stale/", path="/work/Snakefile"))
    _, *lines, moved = shown.text().splitlines()
    assert lines[:5] == [
        "[score r base] error: disk full",
        "[score r base] stopped by",
        "Traceback (most recent call last):",
        "RuleException:",
        "failed",
    ]
    assert "Error in rule score:" in lines
    assert "    log: results/r/logs/c.log (check log file(s) for error details)" in lines
    assert moved == "tables/main.csv moved to stale/"


def test_after_ctrl_c_only_what_to_do_is_shown(shown):
    begin(shown.summary)
    shown.summary.interrupted = True
    shown.summary.take_line("Traceback (most recent call last):")
    shown.summary.take_line("[train_var r base] step 60/1000")
    shown.summary.take(record("RuleException:\nfailed", LogEvent.ERROR, logging.ERROR))
    shown.summary.take(record("Interrupted; go on", path="/work/Snakefile"))
    assert shown.text().splitlines()[1:] == ["Interrupted; go on"]


def test_a_terminal_has_one_line_of_progress_below_the_others():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

        def fileno(self):
            return 0

    stream = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.get_terminal_size", lambda file: SimpleNamespace(columns=8))
        screen = Screen(stream)
    screen.progress("1/3 jobs | long")
    screen.line("a warning")
    screen.end()
    new = "\r\x1b[K"
    assert stream.getvalue() == f"{new}1/3 job{new}a warning\n{new}1/3 job{new}"
