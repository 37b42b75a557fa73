"""A study in a folder of its own: started, disturbed and gone on with; which jobs were lost, and which repeated."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil
from snakemake_runs import copy_project

from varc.storage import provenance

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete", "--configfile", "study.yaml"]
TIMES = ("seconds", "per_second")  # columns of the tables that hold measured time
PATIENCE = 4 * 3600.0  # seconds until a run is given up


class Jobs(NamedTuple):
    """What a run's output says of its jobs, each named by its outputs."""

    started: list
    finished: set


def read_jobs(output):
    """The jobs that a run of snakemake started and finished."""
    started, finished, names, job = [], set(), {}, None
    for line in output.splitlines():
        if re.match(r"(?:local)?rule \w+:", line):
            job = ""
        elif job == "" and line.startswith("    output: "):
            job = line.removeprefix("    output: ")
            started.append(job)
        elif job and (found := re.match(r"    jobid: (\d+)", line)):
            names[found[1]] = job
        elif (found := re.match(r"Finished jobid: (\d+)", line)) and found[1] in names:
            finished.add(names[found[1]])
    return Jobs(started, finished)


def derived(name, inputs):
    """A file and all that were made from it. inputs: file -> the files that it was made from."""
    return {name}.union(*(derived(file, inputs) for file, made_from in inputs.items() if name in made_from))


class Study:
    """A copy of the project with the small study, and what its runs did."""

    def __init__(self, folder):
        self.folder = copy_project(Path(folder))
        (self.folder / "study.yaml").write_text((HERE / "study.yaml").read_text())
        self.results = self.folder / "results" / "faults"
        self.finished = set()
        self.lost = self.repeated = self.runs = 0

    def copy(self, folder):
        """The same, with the same results, in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        new = object.__new__(Study)
        vars(new).update(vars(self), folder=Path(folder), results=Path(folder) / "results" / "faults", lost=0)
        new.finished = set(self.finished)
        return new

    def start(self, *arguments, environment=None):
        """Starts a run in the background; its output goes to a file."""
        self.runs += 1
        path = self.folder.parent / f"{self.folder.name}.{self.runs}.log"
        environment = {**os.environ, "PYTHONPATH": str(self.folder), **(environment or {})}
        with open(path, "wb") as log:
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Run(process, path)

    def end(self, run, code=None):
        """Waits for a run, counts its jobs, and returns its output. code: the exit status that it must have."""
        found = run.process.wait(PATIENCE)
        jobs = read_jobs(run.output())
        self.repeated += len([job for job in jobs.started if job in self.finished])
        self.lost += len(set(jobs.started) - jobs.finished)
        self.finished |= jobs.finished
        output = run.output()
        assert code is None or (found == 0) == (code == 0), f"exit status {found}, expected {code}; see {run.path}"
        return output

    def go_on(self):
        """The same command again, after --unlock where Snakemake asks for it, to the end."""
        output = self.end(self.start())
        if "--unlock" in output:
            assert subprocess.run([*COMMAND, "--unlock"], cwd=self.folder, capture_output=True).returncode == 0
            output = self.end(self.start(), code=0)
        return output

    def forget(self, path):
        """A file that the user deleted, and all that is made from it, may be made again."""
        path.unlink()
        inputs = {
            file.relative_to(self.folder).as_posix(): provenance(file)["made_from"]["inputs"]
            for file in self.results.rglob("*.parquet")
        }
        stale = derived(path.relative_to(self.folder).as_posix(), inputs)
        self.finished = {job for job in self.finished if not any(name in job for name in stale)}

    def tables(self):
        """The tables and predictions, without measured times."""
        found = {path.name: pd.read_csv(path) for path in sorted(self.results.glob("tables/*.csv"))}
        for path in sorted(self.results.glob("predictions/*/*.parquet")):
            found[f"{path.parent.name}/{path.name}"] = pd.read_parquet(path)
        return {
            name: table[[column for column in table if not any(time in column for time in TIMES)]]
            for name, table in found.items()
        }

    def check(self, expected):
        """The tables must be those of an undisturbed run, to the last digit."""
        found = self.tables()
        assert found.keys() == expected.keys(), f"{sorted(found)}, expected {sorted(expected)}"
        for name, table in expected.items():
            pd.testing.assert_frame_equal(found[name], table, check_exact=True)
        assert self.repeated == 0, f"{self.repeated} jobs that had finished were run again"


class Run(NamedTuple):
    """A run in the background."""

    process: subprocess.Popen
    path: Path

    def output(self):
        return self.path.read_text(errors="replace")

    def wait_for(self, pattern, times=1):
        """Waits until the output has a pattern so often, or the run has ended; whether it has the pattern."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            alive = self.process.poll() is None
            if len(re.findall(pattern, self.output(), re.M)) >= times:
                return True
            if not alive:
                return False
            time.sleep(0.05)
        raise TimeoutError(f"{pattern} did not come {times} times\n{self.output()}")

    def scripts(self):
        """The processes of jobs that run."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [child for child in children if ".snakemake/scripts/" in " ".join(child.cmdline()[1:2])]
        except psutil.Error:
            return []

    def kill(self):
        """SIGKILL of the controller; the processes of its jobs, which live on."""
        orphans = self.scripts()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return orphans
