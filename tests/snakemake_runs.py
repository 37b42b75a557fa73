"""Running the pipeline in a copy of the project, as a user would."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "slurm", "workflow", "scripts", "varc", "config")


class Run(NamedTuple):
    """What a snakemake command gave."""

    code: int
    output: str


def copy_project(folder):
    """The project without its results, in a new folder."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_symlink():
            (folder / part).symlink_to(source.readlink())
        elif source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


def snakemake(project, *arguments, timeout=900):
    """Runs snakemake on two cores with the project's own varc."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, arguments)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return Run(done.returncode, done.stdout)


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


def plan(project, *arguments):
    """A dry run; asserts that it succeeds."""
    run = snakemake(project, "--dry-run", *arguments)
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
