"""The device that a job computes on, and what it costs there."""

import ctypes
import logging
import os
import platform
import resource

import torch

from varc.errors import InputError

logger = logging.getLogger("varc")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGE_BLOCK = 32 * 2**20  # the most that M_MMAP_THRESHOLD may be, in bytes


def pick_device(name: str = "auto") -> torch.device:
    """The named device; "auto" is CUDA where torch sees a GPU, else the CPU. The log says which, and what was granted.

    TensorFloat-32 is switched off: with it, tokens would differ between machines. On the CPU memory that is freed is
    kept (keep_freed_memory). Raises InputError for a CUDA device that is not there.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    chosen = name == "auto"
    if chosen:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device: {name} was asked for, but torch {torch.__version__} sees no GPU; use device=cpu")
    device = torch.device(name)
    if device.type == "cpu":
        keep_freed_memory()
    report_device(device, chosen)
    return device


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
    if chosen and device.type == "cpu" and granted.get("CUDA_VISIBLE_DEVICES"):
        logger.warning(
            "CUDA_VISIBLE_DEVICES is %s, but torch %s sees no GPU: computing on the CPU; see docs/cluster.md",
            granted["CUDA_VISIBLE_DEVICES"],
            torch.__version__,
        )


def check_precision(precision: str, device: torch.device) -> None:
    """Raises InputError where the device has no arithmetic in bfloat16."""
    if precision == "float32":
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


def peak_memory(device: torch.device) -> int:
    """Peak bytes of this process so far: of the GPU's allocator on CUDA, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
