import math
import os
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

from varc.origin import making

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(ROOT))  # workflow/ is no installed package
torch.set_num_threads(1)
os.environ["VARC_FORMS"] = "fused,logsumexp"  # not what is fastest at the moment: runs are compared bit by bit
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two workers share two cores: a thread that waits must not spin


@cache
def shared(path):
    """Whether tests of a file share a fixture, as a finished run."""
    return 'scope="module"' in (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture
def always_saved(monkeypatch):
    """What a killed job goes on from is saved after every piece and every step."""
    monkeypatch.setattr("varc.keep.SECONDS", 0.0)
    monkeypatch.setattr("varc.keep.SHARE", math.inf)


@pytest.fixture
def no_job():
    """Nothing is read or written for a job; one that the test begins is over with it."""
    token = making.set(None)
    yield
    making.reset(token)


class BySharedFixtures(LoadScopeScheduling):
    """Files whose tests share a fixture go to one worker each, all other tests to any.

    As pytest-xdist's loadgroup would do, whose groups pytest 9.2 does not see.
    """

    def _split_scope(self, nodeid):
        path = nodeid.partition("::")[0]
        return path if shared(path) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return BySharedFixtures(config, log)
