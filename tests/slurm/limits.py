"""A job over its time or memory ends, and the second try has twice as much; run by `make test-slurm` alone.

Needs the cluster of tests/slurm/with.sh, which kills for memory without cgroups.
"""

import sys
from pathlib import Path

import pandas as pd
import pytest
from snakemake_runs import copy_project, snakemake

sys.path.insert(0, str(Path(__file__).parent))

from study import TIMEOUT, minutes_of, on_slurm, study_config

TARGET = "results/digits/features/base/digits/0.parquet"
GREEDY = """
import os, sys, time  # python imports this module, sitecustomize, at its start
over, done = os.environ.get("VARC_OVER", " ").split(" ", 1)
if over and any(".encode.py" in word for word in sys.orig_argv) and not os.path.exists(done):
    os.close(os.open(done, os.O_CREAT))  # the first time only
    held = bytes(range(256)) * 2**23 if over == "memory" else b""  # 2 GiB
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that has come to the features of the digits."""
    folder = copy_project(tmp_path_factory.mktemp("limits") / "project")
    run = snakemake(folder, TARGET, "--configfile", study_config(folder, short=True), timeout=TIMEOUT)
    assert run.code == 0, run.output
    (folder / "sitecustomize.py").write_text(GREEDY)
    return folder


@pytest.mark.parametrize(
    ("over", "limit", "state", "reason"),
    [
        ("time", "encode:runtime=attempt", "TIMEOUT", "due to time limit"),
        ("memory", "encode:mem_mb=attempt*1000", "FAILED", "exceeded memory limit"),
    ],
)
def test_a_job_over_its_limit_is_tried_again_with_twice_as_much(
    project, monkeypatch, tmp_path, over, limit, state, reason
):
    before = pd.read_parquet(project / TARGET)
    monkeypatch.setenv("VARC_OVER", f"{over} {tmp_path / 'done'}")
    run = on_slurm(project, TARGET, "--force", "--configfile", "changed.yaml", "--set-resources", limit)
    assert run.code == 0, run.output
    first, second = sorted(run.jobs, key=lambda job: int(job.id))
    assert [first.rule, second.rule] == ["encode", "encode"]
    assert [first.state, second.state] == [state, "COMPLETED"]
    (log,) = (project / ".snakemake/slurm_logs").rglob(f"{first.id}.log")
    assert reason in log.read_text().lower(), log.read_text()
    asked = {"time": lambda job: minutes_of(job.time), "memory": lambda job: int(job.memory.removesuffix("M"))}[over]
    assert asked(second) == 2 * asked(first)
    pd.testing.assert_frame_equal(pd.read_parquet(project / TARGET), before, check_exact=True)
