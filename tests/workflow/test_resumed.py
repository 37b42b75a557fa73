"""Jobs that are killed half-way and run again: what was done is not done again, and the result is the same."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import psutil
import pytest
import yaml
from device.states import content
from job_graph import graph, run_job, scripted
from snakemake_runs import copy_project, plan, snakemake, write_config

from varc.earlier import held
from varc.parts import Parts
from varc.training import loop

CONFIG = Path(__file__).with_name("resumed.yaml")
TRAININGS = {"train_vqvae", "train_var", "finetune"}
SCORINGS = {
    "encode",
    "score",
    "score_adaptive",
    "score_certified",
    "score_baseline",
    "score_baseline_adaptive",
    "score_tokens",
    "attribute",
    "attribute_network",
    "faithfulness",
}


class KilledError(BaseException):
    pass


def kept_files(job):
    """What a killed job leaves for the next run."""
    folder = Path(job.output[0]).parent
    return [*folder.glob(".*.parts/*.part"), *folder.glob("*.checkpoint")]


@contextlib.contextmanager
def counted(most=None):
    """The pieces that are computed in the block, and the steps that are saved; after `most` comes a kill."""
    done, call, save = [], Parts.__call__, loop.save_checkpoint

    def computed(self, compute):
        def one():
            if len(done) == most:
                raise KilledError
            done.append(compute)
            return compute()

        return call(self, one)

    def saved(*arguments):
        save(*arguments)
        done.append(save)
        if len(done) == most:
            raise KilledError

    with mock.patch.object(Parts, "__call__", computed), mock.patch.object(loop, "save_checkpoint", saved):
        yield done


def run_killed(job, most):
    """Runs a job that is killed after so many pieces or saved steps."""
    with counted(most), pytest.raises(KilledError):
        run_job(job)


@pytest.fixture
def small_batches(monkeypatch):
    """Small pieces, and bfloat16 also where a processor lacks it."""
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr("varc.scoring.batching.CPU_TOKENS", 30 * 8)
    monkeypatch.setattr("varc.baselines.discriminative.BATCH", 4)
    monkeypatch.setattr("varc.baselines.vae.BATCH", 4)
    monkeypatch.setattr("varc.scoring.stepwise.CPU_BYTES", 2**20)


def test_every_long_job_goes_on_and_ends_with_the_same_bytes(tmp_path, always_saved, small_batches):
    pieces = {}
    with graph(CONFIG, tmp_path) as workflow:
        for job in scripted(workflow):
            if job.rule.name not in TRAININGS | SCORINGS:
                run_job(job)
                continue
            if job.rule.name == "encode":
                job.resources.batch_size = 8
            with counted() as whole:
                run_job(job)
            expected = {file: content(Path(file)) for file in job.output}
            for file in job.output:
                os.remove(file)
            half = max(1, len(whole) // 2)
            run_killed(job, half)
            assert kept_files(job) and not any(os.path.exists(file) for file in job.output), job.output
            with counted() as left:
                run_job(job)
            assert len(left) == len(whole) - half, job.output
            assert "goes on" in Path(job.log[0]).read_text()
            assert {file: content(Path(file)) for file in job.output} == expected
            assert not kept_files(job)
            pieces.setdefault(job.rule.name, []).append(len(whole))
    assert pieces.keys() == TRAININGS | SCORINGS
    assert all(min(counts) > 1 for counts in pieces.values()), pieces


SCORES = "results/r/scores/base/digits/all/scales4/clean/0.parquet"
ARGUMENTS = ("--rerun-incomplete", "--configfile", "c.yaml", "--")


def kill_job(run):
    children = psutil.Process(run.pid).children(recursive=True)
    job = next(child for child in children if ".snakemake/scripts/" in " ".join(child.cmdline()[1:2]))
    job.send_signal(signal.SIGKILL)


def interrupt(run):
    """What Ctrl-C does: a signal to all processes of the terminal."""
    os.killpg(run.pid, signal.SIGINT)


def kill_all(run):
    os.killpg(run.pid, signal.SIGKILL)


def killed(project, target, file, kill=kill_job, arguments=ARGUMENTS, module="snakemake"):
    """Starts snakemake, waits until its job has written a file, and kills. Returns what it printed."""
    command = [sys.executable, "-m", module, "--cores", "2", *arguments, target]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    given = {"cwd": project, "env": environment, "stdin": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, **given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        end = time.monotonic() + 300
        while not file.exists():
            assert run.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        kill(run)
        output = run.communicate(timeout=300)[0]
    assert run.returncode != 0
    return output


def small_project(folder):
    """A copy of the project whose jobs save after every step, with a config c.yaml."""
    project = copy_project(folder)
    file = project / "varc" / "keep.py"
    text = file.read_text().replace("SECONDS = 60.0", "SECONDS = 0.0").replace("SHARE = 0.01", "SHARE = 1e9")
    assert "SECONDS = 0.0" in text and "SHARE = 1e9" in text
    file.write_text(text)
    config = yaml.safe_load(CONFIG.read_text())
    config["datasets"]["digits"] = {"reader": "digits", "split": "validation"}
    config["models"]["base"]["train"]["vqvae"]["steps"] = 30
    config["models"]["base"]["train"]["var"] |= {"depth": 4, "width": 128, "heads": 4}
    config |= {"classifiers": {"varc": {"model": "base", "funnel": [{"scales": 4, "keep": 1}]}}}
    config["evaluate"] = [{"datasets": ["digits"], "classifiers": ["varc"]}]
    write_config(project, {k: v for k, v in config.items() if k not in ("baselines", "explain", "judges")}, "c.yaml")
    return project


@pytest.mark.long
def test_jobs_that_are_killed_go_on_with_the_next_run(tmp_path):
    """By SIGKILL, under Snakemake, which takes away what a failed job wrote: a training, and a scoring."""
    project = small_project(tmp_path / "project")
    models, scores = project / "results/r/models/base", project / SCORES
    for target, kept, log in (
        (models / "vqvae.safetensors", models / "vqvae.checkpoint", "train_vqvae/base.log"),
        (scores, scores.parent / ".0.parquet.parts/3.part", "score/base/digits/all/scales4/clean/0.log"),
    ):
        name, log = target.relative_to(project).as_posix(), project / "results/r/logs" / log
        killed(project, name, kept)
        assert kept.exists() and not target.exists()
        run = snakemake(project, *ARGUMENTS, name)
        assert run.code == 0, run.output
        assert "goes on" in log.read_text() and not kept.exists()
        resumed = content(target)
        target.unlink()
        run = snakemake(project, *ARGUMENTS, name)
        assert run.code == 0, run.output
        assert "goes on" not in log.read_text() and content(target) == resumed


SUMMARY = r"""Jobs: 1 \(train_vqvae 1\)
0/1 jobs \| train_vqvae r base: .*
Interrupted; the same command goes on from here.*
4 files of jobs that did not end are as before the run: .*
Jobs done: 0 of 1. Logs: results/r/logs, .snakemake/log/.*
"""


@pytest.mark.long
def test_a_training_that_is_begun_again_and_killed_leaves_the_weights_of_before(tmp_path):
    """With their time, and as out of date as they were: nothing to be done by the old config, a training by the new."""
    project = small_project(tmp_path / "project")
    folder, name = project / "results/r/models/base", "results/r/models/base/vqvae.safetensors"
    assert snakemake(project, "--configfile", "c.yaml", "--", name).code == 0
    changed = yaml.safe_load((project / "c.yaml").read_text())
    changed["models"]["base"]["train"]["vqvae"]["steps"] = 1000
    write_config(project, changed, "longer.yaml")
    arguments = ("--configfile", "longer.yaml", "--")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert len(before) == 4  # weights, card, curve and its plot
    for kill, module in ((kill_job, "snakemake"), (interrupt, "snakemake"), (interrupt, "scripts.summary")):
        output = killed(project, name, folder / "vqvae.checkpoint", kill, arguments, module)
        assert "4 files of jobs that did not end are as before the run" in output
        assert ("Interrupted; the same command goes on from here" in output) == (kill is interrupt)
        assert "Traceback" not in output
        now = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
        assert before.items() <= now.items()
        (folder / "vqvae.checkpoint").unlink()
    assert re.fullmatch(SUMMARY, output), output
    assert not plan(project, "--configfile", "c.yaml", "--", name).jobs
    assert plan(project, *arguments, name).jobs == {"train_vqvae": 1}
    killed(project, name, folder / "vqvae.checkpoint", kill_all, arguments)  # nobody is left to put anything back
    for path, (content_before, _) in before.items():
        assert held(path).read_bytes() == content_before
    (project / ".snakemake/locks").rename(project / ".snakemake/no_locks")
    changed["models"]["base"]["train"]["vqvae"]["steps"] = 31
    write_config(project, changed, "longer.yaml")
    run = snakemake(project, *arguments, name)
    assert run.code == 0, run.output
    assert not plan(project, *arguments, name).jobs
    assert before.keys() == set(folder.iterdir()) - {folder / "vqvae.checkpoint"}
    assert (folder / "vqvae.safetensors").read_bytes() != before[folder / "vqvae.safetensors"][0]
