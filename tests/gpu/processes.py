"""Several processes: two on one card, and the whole demo.

`python processes.py DEVICE QUICK FOLDER NUMBER` is one of the two.
"""

import csv
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from agreement import difference, random_inputs, shapes
from memory import SAME
from outcome import PACKAGES, Result, Setup, Skipped, at_most
from random_models import random_quantizer, random_var

from varc.device import device_name, pick_device
from varc.scoring.likelihood import score

PATIENCE = 240  # seconds, for the other process to be ready
LIBRARIES = ("snakemake", "pandas", "pyarrow", "sklearn", "scipy", "matplotlib", "safetensors", "fvcore", "PIL")
TOP1 = 0.9  # of the digits: a classifier of the demo has 97 % or more on a CPU


def two_processes(setup: Setup) -> Iterator[Result]:
    """Two processes score the same images on one device at once."""
    with tempfile.TemporaryDirectory() as folder:
        children = [start(setup, folder, number) for number in "01"]
        try:
            errors = [process.communicate(timeout=2 * PATIENCE)[1] for process in children]
        finally:
            for process in children:
                process.kill()
        ended = [process.returncode for process in children]
        figure = f"exit {ended} {' '.join(error.strip().rpartition(chr(10))[2] for error in errors)}"
        yield Result("two processes at once", ended == [0, 0], figure.strip(), "exit [0, 0]")
        if ended == [0, 0]:
            results = [np.load(Path(folder) / f"{number}.npy") for number in "01"]
            yield at_most("two processes, the same scores", difference(*results), SAME)


def start(setup: Setup, folder: str, number: str) -> subprocess.Popen[str]:
    """Starts one of two processes; see score_beside."""
    command = [sys.executable, __file__, setup.device.type, str(int(setup.quick)), folder, number]
    return subprocess.Popen(command, env=environment(sys.path), stderr=subprocess.PIPE, text=True)


def score_beside(device: str, quick: str, folder: str, number: str) -> None:
    """Scores images once the other child has its model on the device too."""
    setup = Setup(pick_device(device), quick == "1")
    vqvae, config = shapes(setup.quick)
    var, quantizer = (model.to(setup.device) for model in (random_var(config), random_quantizer(vqvae)))
    inputs = random_inputs(config, 2, 100)
    Path(folder, f"{number}.ready").touch()
    deadline = time.monotonic() + PATIENCE
    while not Path(folder, f"{1 - int(number)}.ready").exists():
        if time.monotonic() > deadline:
            sys.exit("the other process did not come")
        time.sleep(0.01)
    np.save(Path(folder, f"{number}.npy"), score(var, quantizer, *inputs, device=setup.device).sum(-1))


def environment(folders: Sequence[str]) -> dict[str, str]:
    """This process's environment, for one that imports from some folders, whatever its own is."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, folders))}


def demo(setup: Setup) -> Iterator[Result]:
    """`make demo` in a copy of the project: its tables, and the device that its files name."""
    if setup.quick:
        raise Skipped("takes minutes")
    if missing := [PACKAGES.get(name, name) for name in LIBRARIES if importlib.util.find_spec(name) is None]:
        raise Skipped(f"needs {', '.join(missing)}")
    from snakemake_runs import copy_project

    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder) / "project")
        command = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count()), "--resources", "gpu=1"]
        given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        variables = environment([str(project), *given])
        if setup.device.type == "cpu":
            variables["CUDA_VISIBLE_DEVICES"] = ""
        done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr[-4000:], file=sys.stderr)
        yield Result("demo", done.returncode == 0, f"exit {done.returncode}", "exit 0")
        if done.returncode == 0:
            yield from demo_results(project / "results" / "digits", device_name(setup.device))


def demo_results(results: Path, device: str) -> Iterator[Result]:
    """The demo's table says that its classifiers work; all its files were made on the device."""
    with open(results / "tables" / "accuracy.csv", newline="") as file:
        rows: dict[str, Any] = {row["classifier"]: float(row["top1"]) for row in csv.DictReader(file)}
    worst = min(rows, key=rows.__getitem__)
    figure = f"{len(rows)} classifiers, the worst {worst} {rows[worst]:.3f}"
    yield Result("demo, top-1", rows[worst] >= TOP1, figure, f"at least {TOP1}")
    devices = files_of_devices(results)
    figure = ", ".join(f"{count} files on {name}" for name, count in devices.items()) or "no files"
    yield Result("demo, device", list(devices) == [device], figure, f"all on {device}")


def files_of_devices(results: Path) -> dict[str, int]:
    """How many Parquet files name each device in their provenance."""
    from varc.storage import provenance

    found: dict[str, int] = {}
    for path in sorted(results.rglob("*.parquet")):
        name = provenance(path).get("device")
        if name is not None:
            found[name] = found.get(name, 0) + 1
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    score_beside(*sys.argv[1:])
