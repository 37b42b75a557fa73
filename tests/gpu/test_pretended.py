"""The way that the checks and the benchmark take on a card, gone on the pretended one of tests/device/."""

import sys
from pathlib import Path
from unittest import mock

import pytest
import torch

sys.path.insert(1, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[2] / "benchmarks"))

import agreement
import arithmetic
import gpu
import memory
from device.pretend import PretendCuda
from outcome import Setup


class Card(PretendCuda):
    """Also what torch tells of a card, and a limit to a process's memory."""

    ran_out = 0

    def take(self, size):
        try:
            return super().take(size)
        except torch.OutOfMemoryError:
            self.ran_out += 1
            raise

    def memory_stats(self, device=None):
        return {**super().memory_stats(device), "num_ooms": self.ran_out}

    def limit(self, fraction, device=None):
        self.capacity = None if fraction == 1.0 else int(fraction * self.total)

    def forget(self, device=None):
        self.peak = self.live

    def faked(self):
        return {
            **super().faked(),
            "set_per_process_memory_fraction": self.limit,
            "reset_peak_memory_stats": self.forget,
            "get_device_capability": lambda device=None: (9, 0),
            "get_device_properties": lambda device=None: mock.Mock(total_memory=self.total),
            "get_arch_list": lambda: ["sm_80", "sm_90"],
        }


@pytest.fixture
def setup(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(arithmetic, "driver_cuda", lambda: (12, 8))
    with Card():
        yield Setup(torch.device("cuda"), True)


def verdicts(results):
    return {result.name: result.ok for result in results}


def test_a_driver_too_old_and_a_card_without_tensorfloat_32_show(setup):
    assert verdicts(arithmetic.build(setup)) == {"driver": False, "build": True}
    found = verdicts(arithmetic.sentinels(setup))
    assert all(ok for name, ok in found.items() if name.endswith("in float32"))
    assert not found["product in TensorFloat-32"] and not found["convolution in TensorFloat-32"]  # a blind sentinel


@pytest.mark.parametrize("check", [agreement.public_scores, agreement.image_tokens, memory.many_pairs])
def test_results_of_the_pretended_card_agree(setup, check):
    found = verdicts(check(setup))
    assert found and all(found.values())


@pytest.mark.parametrize("name", ["score", "adaptive", "guided"])
def test_memory_runs_out_and_scores_stay(setup, name):
    result = memory.on_card(name, memory.scorings(setup)[name], setup.device)
    assert result.ok, result


def test_the_benchmark_names_the_card(setup, tmp_path):
    gpu.main(["--quick", "--output", str(tmp_path / "gpu.md")])
    text = (tmp_path / "gpu.md").read_text()
    assert text.startswith("card Pretended GPU, 80.0 GiB; compute capability 9.0;") and "CUDA of the build 13.0" in text


@pytest.mark.parametrize("precision", gpu.PRECISIONS)
def test_memory_of_a_run_is_within_its_plan(setup, precision):
    size = gpu.sizes(quick=True)
    row = gpu.measure("tiny", precision, size, setup.device)
    job = gpu.random_job(size.shapes["tiny"], size, setup.device, precision)
    assert 4 * sum(p.numel() for p in job.var.parameters()) < row.peak_bytes <= row.planned_bytes
