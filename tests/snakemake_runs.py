"""Running the pipeline in a copy of the project, as a user would."""

import atexit
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
PARTS = ("slurm", "workflow", "scripts", "varc", "config")
WARM = Path(__file__).with_name("warm.py")
RULES = "".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
GPU_JOB = re.compile(r'\*\*gpu_job\("(\w+)", mem_mb=([\d_]+), runtime=(\d+)\)')
NEEDS = {rule: (int(memory), int(minutes)) for rule, memory, minutes in GPU_JOB.findall(RULES)}  # MB, minutes


class Run(NamedTuple):
    """What a command gave."""

    code: int
    output: str


def copy_project(folder):
    """The project without its results, in a new folder; its default config is that of the digits."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_symlink():
            (folder / part).symlink_to(source.readlink())
        elif source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    shutil.copy(folder / "config/digits.yaml", folder / "config/config.yaml")  # small, and without pictures of its own
    return folder


@functools.cache
def warm_server():
    """Starts the process that warm.py describes, once per worker of pytest; it ends with the worker. Its socket."""
    path = Path(tempfile.mkdtemp(prefix="varc-")) / "socket"
    command = [sys.executable, str(WARM), "serve", str(path)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(end_server, server, path.parent)
    assert server.stdout.readline() == b"ready\n"
    return str(path)


def end_server(server, folder):
    server.stdin.close()
    server.wait()
    shutil.rmtree(folder)


def python(folder, arguments, timeout=3600, cold=False):
    """Runs `python <arguments>` with the varc of a folder that holds the project or a copy.

    Unless cold, it starts as a fork of a process that has imported the libraries, and so do the jobs of snakemake.
    """
    warm = [] if cold else ["-IS", WARM, "run", warm_server()]
    done = subprocess.run(
        [sys.executable, *map(str, [*warm, *arguments])],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return Run(done.returncode, done.stdout)


def snakemake(project, *arguments, **options):
    """Runs snakemake on two cores; see python."""
    return python(project, ["-m", "snakemake", "--cores", "2", *arguments], **options)


def write_config(project, config, name="changed.yaml"):
    """A config file in the project's folder."""
    path = project / name
    path.write_text(yaml.safe_dump(config))
    return path.name


def default_config(project):
    return yaml.safe_load((project / "config" / "config.yaml").read_text())


class Plan(NamedTuple):
    """What a dry run would do: jobs per rule, and the files that would be written."""

    jobs: Counter
    files: list


def plan(project, *arguments, **options):
    """A dry run; asserts that it succeeds."""
    run = snakemake(project, "--dry-run", *arguments, **options)
    assert run.code == 0, run.output
    jobs, files, rule = Counter(), [], None
    for line in run.output.splitlines():
        if found := re.match(r"(?:local)?rule (\w+):", line):
            rule = found[1]
            jobs[rule] += rule != "all"
        elif rule and line.startswith("    output: "):
            files += line.removeprefix("    output: ").split(", ")
    assert jobs or "Nothing to be done" in run.output, run.output
    return Plan(+jobs, files)
