"""What a measurement ran on: card, driver and versions. Needs torch alone."""

import ctypes
import platform
import subprocess
from pathlib import Path

import torch

from varc.device import device_name

MODULE = Path("/proc/driver/nvidia/version")


def environment(device: torch.device) -> dict[str, str]:
    """The machine and its software, by name; a card's driver, CUDA and cuDNN where the device is one."""
    software = {"python": platform.python_version(), "torch": torch.__version__}
    if device.type != "cuda":
        return {"device": f"{device_name(device)}, {torch.get_num_threads()} threads", **software}
    card = torch.cuda.get_device_properties(device)
    return {
        "card": f"{device_name(device)}, {card.total_memory / 2**30:.1f} GiB",
        "compute capability": ".".join(map(str, torch.cuda.get_device_capability(device))),
        "driver": f"{driver_version()}, for CUDA up to {number(driver_cuda())}",
        **software,
        "CUDA of the build": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
    }


def driver_version() -> str:
    """The version of the NVIDIA driver; "unknown" where the machine does not tell."""
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        words = MODULE.read_text().split() if MODULE.is_file() else []
        return next((word for word in words if word[0].isdigit() and "." in word), "unknown")


def driver_cuda() -> tuple[int, int]:
    """The newest CUDA that the driver can run, e.g. (13, 0); (0, 0) without a driver."""
    version = ctypes.c_int(0)
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return 0, 0
    return version.value // 1000, version.value % 1000 // 10


def number(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
