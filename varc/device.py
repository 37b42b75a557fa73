"""The device that a job computes on, and what it costs there."""

import ctypes
import logging
import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from varc.errors import InputError

logger = logging.getLogger("varc")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGE_BLOCK = 32 * 2**20  # the most that M_MMAP_THRESHOLD may be, in bytes

DRIVER = Path("/proc/driver/nvidia")  # there where NVIDIA's driver is loaded
TF32_CAPABILITY = (8, 0)  # of the first cards that have it
GRANTED = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")  # where Slurm names a job's GPUs
NONE_GRANTED = ("", "NoDevFiles", "-1")
WHEELS = "https://download.pytorch.org/whl"


def pick_device(name: str = "auto") -> torch.device:
    """The named device; "auto" is CUDA where torch sees a GPU, else the CPU. The log says which, and what was granted.

    TensorFloat-32, and sums in bfloat16 within a product, are switched off: with them, tokens and scores would differ
    between machines. On the CPU memory that is freed is kept (keep_freed_memory). Raises InputError for a CUDA device
    that is not there, and where Slurm granted a GPU on a node with NVIDIA's driver but torch sees none.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    chosen = name == "auto"
    if chosen:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(no_gpu(f"device: {name} was asked for"))
    if chosen and name == "cpu" and "SLURM_JOB_ID" in os.environ and granted_gpus() and DRIVER.exists():
        raise InputError(no_gpu(f"Slurm granted a GPU ({', '.join(granted_gpus())})"))
    device = torch.device(name)
    if device.type == "cpu":
        keep_freed_memory()
    report_device(device, chosen)
    return device


def granted_gpus() -> list[str]:
    """The variables of this job that name GPUs, with what they name."""
    found = {key: os.environ.get(key, "") for key in GRANTED}
    return [f"{key}={value}" for key, value in found.items() if value not in NONE_GRANTED]


def no_gpu(why: str) -> str:
    """Says that torch sees no GPU, of which build it is, and how to get another or do without."""
    cuda = torch.version.cuda
    build = f"a build for CUDA {cuda}, for which the driver may be too old" if cuda else "a CPU build"
    return (
        f"{why}, but torch {torch.__version__} ({build}) sees no GPU; run rm -r .venv; make venv "
        f"TORCH_INDEX={WHEELS}/cu130 (cu126 where nvidia-smi says CUDA 12), or set device=cpu to compute on the CPU"
    )


def keep_freed_memory() -> None:
    """From now on this process keeps the blocks that it frees, up to LARGE_BLOCK each, for the next ones.

    Without this glibc maps every large tensor anew, and the kernel hands out zeroed pages: a third of the time of
    scoring on a CPU (benchmarks/freed_memory.py). Does nothing where the C library is another one.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def report_device(device: torch.device, chosen: bool) -> None:
    """Logs where a job computes, with what the cluster granted; a GPU that lies idle is a warning."""
    granted = {key: os.environ[key] for key in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID") if key in os.environ}
    words = [device_name(device), f"on {platform.node()}, {torch.get_num_threads()} threads"]
    logger.info(" ".join([*words, *(f"{key}={value}" for key, value in granted.items())]))
    if chosen and device.type == "cpu" and (gpus := granted_gpus()):
        logger.warning(
            "%s, but torch %s sees no GPU: computing on the CPU; see docs/cluster.md", gpus[0], torch.__version__
        )


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """For a block in which a GPU's products and convolutions of float32 are TensorFloat-32 ones if the precision is
    tf32, and are not if it is another: bf16 is the dtype of what is multiplied."""
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = precision == "tf32"
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def check_precision(precision: str, device: torch.device) -> None:
    """Raises InputError where the device has no arithmetic in that precision."""
    if precision == "float32":
        return
    if precision == "tf32":
        if device.type != "cuda" or torch.cuda.get_device_capability(device) < TF32_CAPABILITY:
            raise InputError(f"precision: tf32: this {device.type} has no TensorFloat-32; take the key away")
        return
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    if not able:
        raise InputError(f"precision: {precision}: this {device.type} has no bfloat16; take the key away")


def device_name(device: torch.device) -> str:
    """A name for the provenance: the GPU's model, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on CUDA: those free on the GPU, and those that torch holds unused."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def gpu_memory(device: torch.device) -> int | None:
    """Bytes that a GPU has in all; None for the CPU."""
    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else None


def peak_memory(device: torch.device) -> int:
    """Peak bytes of this process so far: of the GPU's allocator on CUDA, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
