import logging
import platform
import subprocess
import sys

import pytest
import torch

from varc import device
from varc.device import GRANTED, check_precision, pick_device, products_in
from varc.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def node(monkeypatch, tmp_path):
    """A node without a GPU in torch, outside Slurm; node(driver=..., cuda=..., **variables) makes another of it."""

    def make(*, driver=False, cuda=None, **variables):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(device, "DRIVER", tmp_path if driver else tmp_path / "absent")
        for name in (*GRANTED, "SLURM_JOB_ID"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return make


def test_bf16_is_an_error_where_the_processor_lacks_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    check_precision("float32", CPU)
    with pytest.raises(InputError, match="precision: bf16: this cpu has no bfloat16"):
        check_precision("bf16", CPU)


def test_only_products_in_tf32_are_tensor_float_32():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with products_in("tf32"):
        assert matmul.allow_tf32 and cudnn.allow_tf32
        with products_in("float32"):
            assert not matmul.allow_tf32 and not cudnn.allow_tf32
        assert matmul.allow_tf32 and cudnn.allow_tf32
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before


def test_a_gpu_that_is_not_there_is_an_error(node):
    node()
    assert pick_device("auto") == CPU
    with pytest.raises(InputError, match="device: cuda was asked for") as found:
        pick_device("cuda")
    assert "\n" not in str(found.value)
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cu130" in str(found.value) and "device=cpu" in str(found.value)


@pytest.mark.parametrize(
    ("cuda", "build"), [(None, r"\(a CPU build\)"), ("13.0", r"\(a build for CUDA 13.0, for which the driver may be")]
)
@pytest.mark.parametrize(
    "granted", [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "", "SLURM_JOB_GPUS": "2,3"}]
)
def test_a_gpu_of_slurm_that_torch_does_not_see_is_an_error(node, cuda, build, granted):
    node(driver=True, cuda=cuda, SLURM_JOB_ID="17", **granted)
    (variable,) = (f"{name}={value}" for name, value in granted.items() if value)
    message = rf"Slurm granted a GPU \({variable}\), but torch \S+ {build}.* sees no GPU; run rm -r .venv; make venv TO"
    with pytest.raises(InputError, match=message):
        pick_device("auto")
    assert pick_device("cpu") == CPU  # computed there deliberately


@pytest.mark.parametrize(
    "variables", [{"SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "NoDevFiles"}, {"CUDA_VISIBLE_DEVICES": "0"}]
)
def test_a_driver_alone_is_no_granted_gpu(node, variables):
    node(driver=True, **variables)
    assert pick_device("auto") == CPU


def test_the_log_says_what_was_granted_and_warns_of_a_gpu_that_lies_idle(node, monkeypatch, caplog):
    node(CUDA_VISIBLE_DEVICES="1", SLURM_JOB_ID="17")
    with caplog.at_level(logging.INFO, "varc"):
        pick_device("auto")
    where, warning = caplog.records
    assert "cpu on " in where.message and " threads CUDA_VISIBLE_DEVICES=1 SLURM_JOB_ID=17" in where.message
    assert warning.levelno == logging.WARNING and "sees no GPU: computing on the CPU" in warning.message
    caplog.clear()
    for name, visible in (("cpu", "1"), ("auto", ""), ("auto", "NoDevFiles")):  # asked for, and no GPU granted
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        pick_device(name)
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


def test_products_are_computed_in_full_precision():
    products = torch.backends.cuda.matmul
    torch.backends.cudnn.allow_tf32 = products.allow_tf32 = products.allow_bf16_reduced_precision_reduction = True
    pick_device("cpu")
    assert not (torch.backends.cudnn.allow_tf32 or products.allow_tf32)
    assert not products.allow_bf16_reduced_precision_reduction
    assert torch.get_float32_matmul_precision() == "highest"


FAULTS = """
import numpy as np, resource, torch
from varc.device import pick_device
from varc.models.var import VAR, VARConfig
from varc.models.quantizer import MultiScaleQuantizer
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
