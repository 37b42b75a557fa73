"""Seconds of a dry run of the whole ImageNet study: python benchmarks/dry_run.py [--repeats 3].

Beside it, a dry run of as many jobs of rules that have no functions, parameters or environment: what Snakemake itself
takes for a graph of this size. CPU seconds, since these do not depend on what else the machine does; best of the
repeats.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STUDY = Path(__file__).with_name("imagenet_study.yaml")
BARE = """
rule all:
    input: [f"b/{i}" for i in range(COUNT)]
rule first:
    output: "a/{i}"
    script: "none.py"
rule second:
    input: "a/{i}"
    output: "b/{i}"
    script: "none.py"
"""


class Took(NamedTuple):
    """A dry run: its jobs, its CPU seconds, and the seconds until it ended."""

    jobs: int
    cpu: float
    wall: float


def dry_run(arguments: Sequence[str | Path], folder: Path) -> Took:
    """Runs `snakemake --dry-run` in a folder."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all", "--cores", "1", *map(str, arguments)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    total = re.search(r"^total +(\d+)", done.stdout + done.stderr, re.M)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(int(total[1]) if total else 0, cpu, wall)


def fastest(arguments: Sequence[str | Path], folder: Path, repeats: int) -> Took:
    """The dry run that took the least of the CPU."""
    return min((dry_run(arguments, folder) for _ in range(repeats)), key=lambda took: took.cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    root = STUDY.parents[1]
    study = fastest(["--configfile", STUDY], root, repeats)
    with tempfile.TemporaryDirectory() as folder:
        for count, file in ((1, "small"), (study.jobs // 2, "bare")):
            (Path(folder) / file).write_text(f"COUNT = {count}\n{BARE}")
        (Path(folder) / "none.py").touch()
        bare = fastest(["--snakefile", "bare"], Path(folder), repeats)
        small = fastest(["--snakefile", "small"], Path(folder), repeats)
    print("| dry run | jobs | CPU s | s | CPU ms per job beyond the start |\n| --- | --- | --- | --- | --- |")
    for name, took in (("ImageNet study", study), ("bare rules", bare), ("3 bare jobs: the start", small)):
        per_job = 1000 * (took.cpu - small.cpu) / took.jobs
        print(f"| {name} | {took.jobs} | {took.cpu:.1f} | {took.wall:.1f} | {per_job:.2f} |")


if __name__ == "__main__":
    main()
