"""Jobs share their cores: their threads do not spin for long while they wait, unless the user says otherwise."""

import json
import os

from configs import DIGITS
from job_graph import graph

from workflow.threads import WAITING


def test_threads_of_jobs_spin_for_microseconds_alone(tmp_path, monkeypatch):
    for name in (*WAITING, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(DIGITS | {"published": "published.csv"}))
    (tmp_path / "published.csv").write_text("dataset,classifier,top1,gflops\n")
    with graph(config, tmp_path):
        assert os.environ["GOMP_SPINCOUNT"] == "1000"  # what the processes of jobs inherit
        assert os.environ["KMP_BLOCKTIME"] == "200"
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    with graph(config, tmp_path):
        assert "GOMP_SPINCOUNT" not in os.environ
