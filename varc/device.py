"""The device that a job computes on, and what it costs there."""

import resource

import torch

from varc.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """The named device; "auto" is CUDA where torch sees a GPU, else the CPU.

    TensorFloat-32 is switched off: with it, tokens would differ between machines. Raises InputError for a CUDA
    device that is not there.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device: {name} was asked for, but torch {torch.__version__} sees no GPU; use device=cpu")
    return torch.device(name)


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
