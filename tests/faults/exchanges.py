"""Exchanged files: two of a finished run, or one with that of another run; each is refused by name, or changes nothing.

The runs are tests/device/demo.yaml, which takes every script; jobs run in this process. What reads an exchanged file
runs again: it must stop with a message that names it, or write what it wrote before.
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from device.cases import small_models
from device.states import content
from job_graph import graph, run_job, scripted

DEMO = Path(__file__).parents[1] / "device" / "demo.yaml"
READ = {".parquet", ".json", ".safetensors"}
MEASURE = {"measure_rates", "plan"}


class Finished(NamedTuple):
    """A finished run: its folder, and a copy that stays as it is."""

    folder: Path
    untouched: Path
    jobs: list[Any]

    def readers(self, names: set[str]) -> list[Any]:
        return [job for job in self.jobs if names & set(job.input) and job.rule.name not in MEASURE]

    def files(self) -> list[str]:
        """The files that jobs of the run made and others read."""
        made = {str(name) for job in self.jobs for name in job.output if Path(name).suffix in READ}
        return sorted(name for name in made if self.readers({name}))

    def put_back(self, names: Iterable[str]) -> None:
        for name in names:
            shutil.copy2(self.untouched / name, self.folder / name)


def finished(at: Path, **changed: Any) -> Finished:
    """The demo with changed keys, run in a new folder."""
    folder, config = at / "run", at / "config.yaml"
    folder.mkdir(parents=True)
    config.write_text(yaml.safe_dump(yaml.safe_load(DEMO.read_text()) | changed))
    for name, model in zip(("vae.pth", "var.pth"), small_models(torch.device("cpu")), strict=True):
        torch.save(model.state_dict(), folder / name)
    with graph(config, folder) as workflow:
        jobs = scripted(workflow)
        for job in jobs:
            assert run(job) is None, job
    return Finished(folder, shutil.copytree(folder, at / "untouched"), jobs)


def run(job: Any) -> str | None:
    """Runs a job; what it says where it is refused, None where it ends well. A traceback is an error of the code."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            run_job(job)
        except SystemExit:
            return said.getvalue()
    return None


def exchanges(own: Finished, others: Finished, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Makes one exchange after the other, at random; the names of the files, the same twice for that of another run."""
    files = own.files()
    while True:
        one = rng.choice(files)
        alike = [name for name in files if Path(name).suffix == Path(one).suffix and name != one]
        near = [name for name in alike if name.split("/")[2] == one.split("/")[2]]
        if rng.random() < 0.3:
            shutil.copy(others.untouched / one, own.folder / one)
            yield one, one
        else:
            other = rng.choice(near if near and rng.random() < 0.7 else alike)
            for name, as_name in ((one, other), (other, one)):
                shutil.copy(own.untouched / name, own.folder / as_name)
            yield one, other


def outcome(own: Finished, names: set[str]) -> str:
    """ "refused", "harmless", or what went wrong after an exchange: every reader of the files runs again."""
    refused = False
    for job in own.readers(names):
        message = run(job)
        if message is not None:
            if "Traceback" in message or not any(os.path.splitext(name)[0] in message for name in names):
                return f"{job.rule.name} ends with: {message}"
            refused = True
            continue
        compared = [name for name in job.output if Path(name).suffix in {*READ, ".csv"} and name not in names]
        differ = [name for name in compared if content(own.folder / name) != content(own.untouched / name)]
        own.put_back(set(compared))
        if differ:
            return f"{job.rule.name} writes other {', '.join(differ)}"
    return "refused" if refused else "harmless"


def exchanged(at: Path, times: int, seed: int) -> Counter[str]:
    """How many exchanges were refused and how many did no harm. Raises AssertionError at the first other one."""
    own, others = finished(at / "own"), finished(at / "other", seed=5)
    found: Counter[str] = Counter()
    os.chdir(own.folder)
    for names in islice(exchanges(own, others, random.Random(seed)), times):
        said = outcome(own, set(names))
        found[said if said in ("refused", "harmless") else "WRONG"] += 1
        if found["WRONG"]:
            raise AssertionError(f"{' and '.join(names)} exchanged: {said}")
        own.put_back({*names, *(str(name) for job in own.readers(set(names)) for name in job.output)})
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = exchanged(Path(folder), options.times, options.seed)
    print(f"{options.times} exchanges: {counts['refused']} refused by name, {counts['harmless']} without any effect")
