"""The graph of a run's jobs, made by Snakemake in this process: its jobs run here, and what a changed config reruns."""

import contextlib
import contextvars
import gc
import json
import logging
import os
import runpy
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from snakemake.api import SnakemakeApi
from snakemake.script import Snakemake
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings
from snakemake_runs import ROOT


class Job(NamedTuple):
    """What of a job Snakemake's record has: a changed one of these reruns it."""

    rule: str
    outputs: tuple[str, ...]
    inputs: frozenset[str]
    params: frozenset[str]
    ancient: frozenset[str]  # those inputs that may be made anew without rerunning it


@contextlib.contextmanager
def as_it_was() -> Iterator[None]:
    """Leaves folder, environment, paths, threads, collector and loggers as they were: each job has a process of its own
    to change them in."""
    environment = dict(os.environ)
    folder, paths, threads, collector = os.getcwd(), sys.path[:], torch.get_num_threads(), gc.get_threshold()
    loggers = {name: logging.getLogger(name).handlers[:] for name in ("varc", "py.warnings")}
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = paths
        torch.set_num_threads(threads)
        gc.set_threshold(*collector)
        logging.captureWarnings(False)
        for name, handlers in loggers.items():
            logging.getLogger(name).handlers[:] = handlers


@contextlib.contextmanager
def graph(config_file: Path, folder: Path, targets: Collection[str] = ("all",)) -> Iterator[Any]:
    """Snakemake's workflow for a config file in a folder, with the graph of all its jobs; nothing is run."""
    config = ConfigSettings(configfiles=[config_file])
    with as_it_was(), SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        made = api.workflow(
            ResourceSettings(cores=1), config_settings=config, snakefile=ROOT / "workflow/Snakefile", workdir=folder
        )
        made.dag(DAGSettings(targets=set(targets)))
        workflow = made._workflow
        workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        yield workflow


def scripted(workflow: Any) -> list[Any]:
    """The jobs of a graph that have a script, in an order in which they can run."""
    return [job for level in workflow.dag.toposorted() for job in level if job.rule.script]


def script_of(rule: Any) -> Path:
    """The script of a rule."""
    return (Path(rule.basedir) / rule.script).resolve()


def run_job(job: Any) -> None:
    """Runs a job's script as Snakemake does, but in this process. Raises SystemExit where the script ends so."""
    given = ("output", "params", "wildcards", "threads", "resources", "log")
    known = {name: getattr(job, name) for name in given}
    script = Snakemake(input_=job.input, **known, config={}, rulename=job.rule.name, bench_iteration=None)
    for path in (*job.output, *job.log):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    contextvars.copy_context().run(runpy.run_path, str(script_of(job.rule)), {"snakemake": script})


def run_missing(config_file: Path, folder: Path, target: str) -> None:
    """Runs the jobs whose files a target needs and are not there. Raises SystemExit where one fails."""
    with graph(config_file, folder, [target]) as workflow:
        for job in scripted(workflow):
            if not all(os.path.exists(file) for file in job.output):
                run_job(job)


def jobs(folder: Path, config: Any) -> list[Job]:
    """All jobs of a config in a folder that holds what it reads."""
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    with graph(file, folder) as workflow:
        params = workflow.persistence._params
        return [
            Job(
                job.rule.name,
                tuple(job.output),
                frozenset(job.input),
                frozenset(params(job)),
                frozenset(name for name in job.input if name.is_ancient),
            )
            for job in workflow.dag.jobs
            if not job.is_norun
        ]


def rerun(before: list[Job], after: list[Job]) -> Counter[str]:
    """How many jobs of each rule run after a config has changed, where all jobs of the one before are done.

    Those whose output is new, whose inputs or parameters are others, and all that read what these make.
    """
    done = {name: job for job in before for name in job.outputs}
    running: dict[tuple[str, ...], Job] = {}
    made: set[str] = set()
    waiting = list(after)
    while True:
        found = [job for job in waiting if changed(job, done) or made & (job.inputs - job.ancient)]
        if not found:
            return Counter(job.rule for job in running.values())
        running |= {job.outputs: job for job in found}
        made |= {name for job in found for name in job.outputs}
        waiting = [job for job in waiting if job.outputs not in running]


def changed(job: Job, done: dict[str, Job]) -> bool:
    """Whether one of its outputs is not there, or was made by a job with other inputs or parameters."""
    known = [done.get(name) for name in job.outputs]
    return any(old is None or (old.inputs, old.params) != (job.inputs, job.params) for old in known)
