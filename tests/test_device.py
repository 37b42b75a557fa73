import logging
import platform
import subprocess
import sys

import pytest
import torch

from varc.device import check_precision, pick_device
from varc.errors import InputError

CPU = torch.device("cpu")


def test_bf16_is_an_error_where_the_processor_lacks_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    check_precision("float32", CPU)
    with pytest.raises(InputError, match="precision: bf16: this cpu has no bfloat16"):
        check_precision("bf16", CPU)


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    with pytest.raises(InputError, match="device: cuda was asked for"):
        pick_device("cuda")


def test_the_log_says_what_was_granted_and_warns_of_a_gpu_that_lies_idle(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with caplog.at_level(logging.INFO, "varc"):
        pick_device("auto")
    where, warning = caplog.records
    assert "cpu on " in where.message and " threads CUDA_VISIBLE_DEVICES=1 SLURM_JOB_ID=17" in where.message
    assert warning.levelno == logging.WARNING and "sees no GPU: computing on the CPU" in warning.message
    caplog.clear()
    for name, visible in (("cpu", "1"), ("auto", "")):  # asked for, and no GPU granted
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        pick_device(name)
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


FAULTS = """
import numpy as np, resource, torch
from varc.device import pick_device
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import MultiScaleQuantizer
from varc.scoring.likelihood import score

torch.set_num_threads(1)
{prepare}
patch_nums = (1, 2, 3, 4, 5, 7)
var, quantizer = VAR(VARConfig(2, 64, 4, 10, 128, 8, patch_nums)).eval(), MultiScaleQuantizer(128, 8, patch_nums)
tokens, classes = np.zeros((16, 104), np.uint16), np.tile(np.arange(10, dtype=np.int32), (16, 1))
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    score(var, quantizer, tokens, classes, device=torch.device("cpu"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_on_the_cpu_scoring_uses_its_memory_again():
    faults = []
    for prepare in ("", "pick_device('cpu')"):
        command = [sys.executable, "-c", FAULTS.format(prepare=prepare)]
        faults.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert 10 * faults[1] < faults[0]  # pages that the kernel handed out
