"""The digits study through `--profile slurm` gives the tables of a local run; run by `make test-slurm` alone.

Needs the cluster of tests/slurm/with.sh. With SHORT=1 in the environment the config has few training steps, noisy
samples and classifiers, instead of being the default one and a rival.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from typing import NamedTuple

import pandas as pd
import pytest
import yaml
from snakemake_runs import NEEDS, copy_project, default_config, plan, snakemake, write_config

SHORT = os.environ.get("SHORT") == "1"
TIMEOUT = 7200  # seconds for a run that hangs; a busy machine may need an hour
TIME = re.compile("seconds|_per_second")  # columns that differ between any two runs
CANCELLED_RULE = "tokenize"  # the first running job of this rule is cancelled, as an operator of a cluster may do
# A test cluster answers at once: these two only make the test shorter.
QUICK = ("--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "1")


class Job(NamedTuple):
    """A job as Slurm remembers it: id, rule and wildcards, state, and what it asked for."""

    id: str
    comment: str
    state: str
    memory: str
    time: str

    @property
    def rule(self):
        return re.match(r"rule_(\w+?)(_wildcards_|$)", self.comment)[1]


class SlurmRun(NamedTuple):
    code: int
    output: str
    jobs: list
    cancelled: str | None  # the id of the job


def squeue(run_id):
    """All jobs of a run, finished ones too: the test cluster keeps them for an hour."""
    command = ["squeue", "--noheader", "--states", "all", "--name", run_id, "--format", "%i|%k|%T|%m|%l"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [Job(*line.split("|")) for line in done.stdout.splitlines()]


def cancel_running(run_id, rule):
    """Cancels a running job of a rule and returns its id; None where there is none."""
    for job in squeue(run_id):
        if job.rule == rule and job.state == "RUNNING":
            subprocess.run(["scancel", job.id], check=True, timeout=60)
            return job.id
    return None


def on_slurm(project, *arguments, profile="slurm", cancel=None, timeout=TIMEOUT):
    """What a user types; a first job of the rule `cancel` is cancelled while it runs."""
    log = project / "controller.log"
    command = [sys.executable, "-m", "snakemake", "--profile", profile, *QUICK, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    run_id = cancelled = None
    with log.open("w") as file:
        controller = subprocess.Popen(
            command, cwd=project, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        deadline = time.monotonic() + timeout
        while controller.poll() is None:
            if time.monotonic() > deadline:
                controller.terminate()  # it cancels its jobs
                controller.wait(60)
                pytest.fail(f"no end after {timeout} s:\n{log.read_text()}")
            time.sleep(0.3)
            run_id = run_id or next(iter(re.findall(r"SLURM run ID: (\S+)", log.read_text())), None)
            if cancel and run_id and not cancelled:
                cancelled = cancel_running(run_id, cancel)
    return SlurmRun(controller.returncode, log.read_text(), squeue(run_id) if run_id else [], cancelled)


def study_config(project, short=SHORT):
    """The default config and a rival, or a small one that has the same rules but the rival's."""
    config = default_config(project)
    if not short:
        shape = {"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "channels": 1}
        training = {"data": "digits_train", "steps": 20, "batch_size": 32, "lr": 0.003}
        config["baselines"] = {"dit": {"family": "diffusion", "shape": shape, "train": training}}
        config["classifiers"] |= {
            "dc": {"baseline": "dit", "stages": [{"draws": 2, "keep": 5}, {"draws": 4}]},
            "cfg": {"model": "base", "funnel": [{"scales": 4, "samples": 1, "keep": 1, "guidance": 1}]},
        }
        config["evaluate"].append({"datasets": ["digits"], "classifiers": ["dc", "cfg"]})
    if short:
        config["shards"] = 1
        train, cca = config["models"]["base"]["train"], config["models"]["cca"]["cca"]
        train["vqvae"]["steps"] = train["var"]["steps"] = 5
        train["var"]["samples"] = 1
        cca.update(steps=2, batch_size=32)
        del train["var"]["sigma"], cca["validate"], cca["validate_every"], config["ablation"]
        stages = [{"scales": 3, "samples": 1, "keep": 5}, {"scales": 4, "samples": 2, "keep": 1}]
        config["classifiers"]["a_varc_plus"]["funnel"] = stages
        config["evaluate"] = [{"datasets": ["digits"], "classifiers": ["varc", "a_varc_plus"]}]
    return write_config(project, config)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("local") / "project")
    run = snakemake(project, "--configfile", study_config(project), timeout=TIMEOUT, cold=True)
    assert run.code == 0, run.output
    return project


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The project, what was planned, and the run."""
    project = copy_project(tmp_path_factory.mktemp("slurm") / "project")
    config = study_config(project)
    planned = plan(project, "--configfile", config).jobs
    run = on_slurm(project, "--configfile", config, cancel=CANCELLED_RULE)
    assert run.code == 0, run.output
    return project, planned, run


def test_all_jobs_for_a_gpu_went_to_slurm_and_no_others(cluster):
    _, planned, run = cluster
    got = Counter(job.rule for job in run.jobs if job.state == "COMPLETED")
    assert got == Counter({rule: n for rule, n in planned.items() if rule in NEEDS})
    assert {"prune", "predict", "accuracy"} <= planned.keys() - got.keys()


def test_each_gpu_job_saw_one_device(cluster):
    project, _, run = cluster
    seen = {}
    for rule in NEEDS:
        for log in (project / "results/digits/logs" / rule).rglob("*.log"):
            found = re.search(r"CUDA_VISIBLE_DEVICES=(\S+) SLURM_JOB_ID=(\d+)", log.read_text())
            assert found, f"{log}: {log.read_text()}"
            seen[found[2]] = found[1]
    assert seen.keys() == {job.id for job in run.jobs if job.state == "COMPLETED"}
    assert set(seen.values()) == {"0", "1"}  # one device each, and both were in use


def csv_files(project):
    return sorted(path.relative_to(project).as_posix() for path in (project / "results").rglob("*.csv"))


def test_every_table_is_that_of_a_local_run(local, cluster):
    project, *_ = cluster
    files = csv_files(local)
    assert "results/digits/tables/accuracy.csv" in files and csv_files(project) == files
    for file in files:
        ours, theirs = (pd.read_csv(folder / file) for folder in (project, local))
        same = [column for column in theirs.columns if not TIME.search(column)]
        assert list(ours.columns) == list(theirs.columns)
        pd.testing.assert_frame_equal(ours[same], theirs[same], check_exact=True, obj=file)


def test_a_cancelled_job_is_tried_again_with_twice_the_memory_and_time(cluster):
    run = cluster[-1]
    assert run.cancelled
    failed = next(job for job in run.jobs if job.id == run.cancelled)
    assert failed.state == "CANCELLED"
    again = next(job for job in run.jobs if job.comment == failed.comment and job.state == "COMPLETED")
    memory, minutes = NEEDS[CANCELLED_RULE]
    assert [failed.memory, again.memory] == [f"{memory}M", f"{2 * memory}M"]
    assert [minutes_of(failed.time), minutes_of(again.time)] == [minutes, 2 * minutes]
    others = [job for job in run.jobs if job.comment != failed.comment]
    assert others and all(job.memory == f"{NEEDS[job.rule][0]}M" for job in others)


def minutes_of(limit):
    """Slurm's [days-][hours:]minutes:seconds."""
    days, _, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    hours, minutes, _ = [0] * (3 - len(parts)) + parts
    return 24 * 60 * int(days or 0) + 60 * hours + minutes


def test_the_same_command_has_nothing_left_to_do(cluster):
    project, *_ = cluster
    run = on_slurm(project, "--configfile", "changed.yaml")
    assert run.code == 0 and not run.jobs and "Nothing to be done" in run.output, run.output


@pytest.mark.parametrize(("gpu", "visible"), [({"gpu": 0, "gres": "'gpu:1'"}, r"=\d "), ({"gpu": 0}, None)])
def test_other_sites(cluster, gpu, visible):
    """A site that spells GPUs as gres; a site without GPUs (docs/cluster.md)."""
    project, *_ = cluster
    profile = yaml.safe_load((project / "slurm/config.yaml").read_text())
    profile["default-resources"] |= gpu
    (project / "site").mkdir(exist_ok=True)
    (project / "site/config.yaml").write_text(yaml.safe_dump(profile))
    target = "results/digits/features/base/digits/0.parquet"
    run = on_slurm(project, target, "--force", "--configfile", "changed.yaml", profile="site")
    assert run.code == 0 and [job.rule for job in run.jobs] == ["encode"], run.output
    log = (project / "results/digits/logs/encode/base/digits/0.log").read_text()
    assert "SLURM_JOB_ID" in log
    assert re.search(f"CUDA_VISIBLE_DEVICES{visible}", log) if visible else "CUDA_VISIBLE_DEVICES" not in log, log
