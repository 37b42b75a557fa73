"""Jobs share their cores: their threads sleep while they wait, unless the user says otherwise."""

import json
import os

from configs import DIGITS
from job_graph import graph

from workflow.threads import WAITING


def test_jobs_get_threads_that_wait_asleep(tmp_path, monkeypatch):
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(DIGITS | {"published": "published.csv"}))
    (tmp_path / "published.csv").write_text("dataset,classifier,top1,gflops\n")
    with graph(config, tmp_path):
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"  # what the processes of jobs inherit
        assert os.environ["KMP_BLOCKTIME"] == "200"
    assert "OMP_WAIT_POLICY" not in os.environ
