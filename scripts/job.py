"""What every script of a rule does around its one library call."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from varc.logs import job_log


@contextmanager
def job(snakemake: Any) -> Iterator[Any]:
    """Logs to the rule's log file; an expected error ends the job with one message."""
    with job_log(snakemake.log[0], " ".join([snakemake.rule, *snakemake.wildcards])) as log:
        yield log


def compute_device(snakemake: Any) -> Any:
    """The torch device of the job, with as many threads as the rule has."""
    import torch

    from varc.device import pick_device

    torch.set_num_threads(snakemake.threads)
    return pick_device(snakemake.resources.device)


@contextmanager
def measured(device: Any, images: int, log: Any) -> Iterator[dict[str, Any]]:
    """A dict that has the provenance of the computation once the block ends: device, seconds, rate, peak memory."""
    import torch

    from varc.device import device_name, peak_memory

    record: dict[str, Any] = {"images": images}
    start = time.monotonic()
    yield record
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.monotonic() - start
    record |= {
        "device": device_name(device),
        "dtype": "float32",
        "seconds": seconds,
        "images_per_second": images / seconds,
        "peak_memory_bytes": peak_memory(device),
    }
    log.info("%d images in %.1f s, %.1f images/s", images, seconds, images / seconds)
