"""What every script of a rule does around its one library call."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from varc.earlier import let_go
from varc.files import unchanged
from varc.freshness import check_fresh
from varc.logs import job_log
from varc.origin import begin_job

PROGRESS_SECONDS = 10.0


@contextmanager
def job(snakemake: Any) -> Iterator[Any]:
    """Logs to the rule's log file; an expected error ends the job with one message, and so does an input that is
    not fresh, or changes meanwhile. Its outputs tell their origin; what it had made before goes once they are whole."""
    wildcards, params = (dict(part.items()) for part in (snakemake.wildcards, snakemake.params))
    code = set(snakemake.input.get("code") or [])
    begin_job(snakemake.rule, wildcards, params, snakemake.input, code, snakemake.config.get("seed"))
    log = job_log(snakemake.log[0], " ".join([snakemake.rule, *snakemake.wildcards]))
    with log as log, unchanged(set(snakemake.input) - code):  # mapped weights are read when they are used
        check_fresh(sorted(set(snakemake.input) - code))
        yield log
    for file in snakemake.output:
        let_go(file)


def compute_device(snakemake: Any) -> Any:
    """The torch device of the job, with as many threads as the rule has."""
    import torch

    from varc.device import pick_device

    torch.set_num_threads(snakemake.threads)
    return pick_device(snakemake.resources.device)


@contextmanager
def measured(
    device: Any, images: int, log: Any, gflops: float | None = None, parts: Any = None
) -> Iterator[dict[str, Any]]:
    """A dict that has the provenance of the computation once the block ends: device, seconds, rates, peak memory.

    The seconds are the device's: what the block puts into it as waited_seconds (varc.prefetch.waited) is left out.
    gflops: what the block computes, where that is known (nominal, fvcore's convention). parts: of the job, if it keeps
    any; what they took in earlier runs counts too, up to their last saving.
    """
    import torch

    from varc.device import device_name, peak_memory

    before: dict[str, float] = parts.spent if parts else {}
    record: dict[str, Any] = {"images": images, **before}
    start = time.monotonic() - sum(before.values())

    def spent() -> dict[str, float]:
        idle = {key: record[key] for key in ("waited_seconds",) if key in record}
        return {"seconds": time.monotonic() - start - sum(idle.values()), **idle}

    if parts:
        parts.clock = spent
    yield record
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds, idle = spent()["seconds"], record.get("waited_seconds", 0.0)
    record |= {
        "device": device_name(device),
        "dtype": "float32",
        "seconds": seconds,
        "images_per_second": images / seconds,
        "peak_memory_bytes": peak_memory(device),
    }
    rate = ""
    if gflops is not None:
        record["gflops_per_second"] = gflops / seconds
        rate = f", {gflops / seconds:.1f} GFLOP/s"
    if idle:
        rate += f", {idle:.1f} s of waiting for them left out"
    log.info("%d images in %.1f s, %.1f images/s%s", images, seconds, images / seconds, rate)


def progress(log: Any, parts: Any = None) -> Any:
    """A report of progress for the engine: at most a line every PROGRESS_SECONDS, with the rate and the time left.

    What an earlier run kept in parts is in no rate.
    """
    start = last = time.monotonic()
    before = 0

    def report(done: int, total: int) -> None:
        nonlocal start, last, before
        now = time.monotonic()
        if parts and not parts.fresh:
            start, last, before = now, now, done
        elif now - last >= PROGRESS_SECONDS:
            last = now
            rate = (done - before) / (now - start)
            log.info("%d of %d pairs, %.1f pairs/s, ETA %.0f s", done, total, rate, (total - done) / rate)

    return report
