"""Whether the controller leaks over thousands of jobs: python benchmarks/many_shards.py [--shards 2000].

Pruning, the cheapest rule with a file per shard, runs locally on scores that are written here beforehand. While it
does, the resident memory and the open files of the controller are read every second. The first figures are those after
a tenth of the jobs, when the graph is built and every code path was taken; the slope is a least-squares fit from there
to the end.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from snakemake_runs import copy_project

from varc.storage import fixed_size_list, scores_schema, write_parquet

IMAGES, CLASSES, SCALES = 5, 10, 2  # of a shard's scores
SCORES, CANDIDATES = (
    "results/many/scores/base/images/all/scales2/clean",
    "results/many/candidates/base/images/2x1-keep5",
)


class Reading(NamedTuple):
    """The controller at an instant."""

    jobs: int  # that have ended
    megabytes: float  # resident
    files: int  # open


def config(shards: int) -> dict[str, Any]:
    """A study with so many shards, two stages, and public weights that need not be there."""
    images = {"reader": "idx", "root": "/usr/share/datasets/fashion-mnist", "split": "test"}
    weights = {"vqvae": "vqvae.pth", "var": "var.pth", "architecture": "var_d16"}
    funnel = [{"scales": SCALES, "keep": 5}, {"scales": 10, "keep": 1}]
    return {
        "run": "many",
        "shards": shards,
        "datasets": {"images": images | {"classes": "config/classes/fashion_mnist.csv"}},
        "models": {"base": weights},
        "classifiers": {"funnel": {"model": "base", "funnel": funnel}},
        "evaluate": [{"datasets": ["images"], "classifiers": ["funnel"]}],
    }


def write_scores(folder: Path, shards: int) -> None:
    """A scores file of each shard, of random numbers."""
    random = np.random.default_rng(0)
    for shard in range(shards):
        per_scale = random.standard_normal((IMAGES * CLASSES, SCALES))
        columns = {
            "image_id": np.repeat([f"{shard}:{i}" for i in range(IMAGES)], CLASSES),
            "class_id": np.tile(np.arange(CLASSES, dtype=np.int32), IMAGES),
            "log_likelihood": per_scale.sum(1),
            "per_scale": fixed_size_list(per_scale),
        }
        record = {"images": IMAGES, "vqvae_sha256": "0", "var_sha256": "0"}
        write_parquet(folder / SCORES / f"{shard}.parquet", columns, scores_schema(SCALES), record)


def watch(folder: Path, shards: int, cores: int) -> list[Reading]:
    """Runs the jobs, and reads the controller every second until they have ended."""
    targets = [f"{CANDIDATES}/{shard}.parquet" for shard in range(shards)]
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--quiet", "all", "--configfile", "study.yaml"]
    readings = []
    with open(folder / "log.txt", "w") as log:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        run = psutil.Popen([*command, "--", *targets], cwd=folder, env=environment, stdout=log, stderr=log)
        while run.poll() is None:
            time.sleep(1)
            try:
                memory, files = run.memory_info().rss / 1e6, run.num_fds()
            except psutil.Error:
                break
            if not memory:  # it has just ended
                break
            readings.append(Reading(len(list((folder / CANDIDATES).glob("*.parquet"))), memory, files))
    if run.wait():
        sys.exit((folder / "log.txt").read_text()[-2000:])
    return readings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder = copy_project(Path(parent) / "project")
        (folder / "study.yaml").write_text(yaml.safe_dump(config(arguments.shards)))
        write_scores(folder, arguments.shards)
        start = time.monotonic()
        readings = watch(folder, arguments.shards, arguments.cores)
        seconds = time.monotonic() - start
    late = [reading for reading in readings if reading.jobs >= arguments.shards // 10]
    jobs = [reading.jobs for reading in late]
    print(f"{arguments.shards} jobs in {seconds:.0f} s, {len(late)} readings\n")
    print("| | first | last | most | slope per 1,000 jobs |\n| --- | --- | --- | --- | --- |")
    for name, values in (("resident MB", [r.megabytes for r in late]), ("open files", [r.files for r in late])):
        slope = 1000 * np.polyfit(jobs, values, 1)[0]
        print(f"| {name} | {values[0]:.1f} | {values[-1]:.1f} | {max(values):.1f} | {slope:.2f} |")


if __name__ == "__main__":
    main()
