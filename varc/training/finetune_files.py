"""Fine-tuning from files to files: in one process, or in several by torchrun.

`python -m torch.distributed.run --nproc-per-node 2 -m varc.training.finetune_files REQUEST.json`
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from varc.device import check_precision, device_name, peak_memory, pick_device
from varc.errors import InputError
from varc.freshness import check_made_with, check_models
from varc.models.var import VAR
from varc.models.var_weights import check_fit, read_var
from varc.models.vqvae_weights import read_vqvae
from varc.models.weights import Card, save_model
from varc.origin import Making, made_from, making
from varc.storage import read_labels, read_samples
from varc.training.curves import plot_finetuning, write_curve
from varc.training.finetune import finetune
from varc.training.loop import Checkpoint, Curve
from varc.training.selection import kept_step
from varc.training.validation import read_validation, top1

TIMEOUT = timedelta(hours=6)  # that a process waits for the others: one of them writes checkpoints of many GB
ERROR = "error: "


def finetune_files(request: dict[str, Any], report: Callable[[str], None] = print) -> None:
    """What scripts/finetune.py asks for: reads weights and tokens, fine-tunes, writes weights, card and curve.

    With several processes the first one writes.
    """
    torch.set_num_threads(request["threads"])
    device = pick_device(request["device"])
    if dist.is_initialized() and device.type == "cuda":
        device = own_gpu(int(os.environ["LOCAL_RANK"]), dist.get_world_size())
        torch.cuda.set_device(device)
    check_precision(request["settings"]["precision"], device)
    first = not dist.is_initialized() or dist.get_rank() == 0
    vqvae, vqvae_card = read_vqvae(request["vqvae"], request["vqvae_checkpoint"])
    var, card = read_var(request["var"], request["var_checkpoint"])
    check_models(request["var"], card, request["vqvae"], vqvae_card["sha256"])
    check_fit(request["var"], var.config, request["vqvae"], vqvae.config)
    made = [*request["tokens"], *(request["validation"] or {}).get("tokens", [])]
    check_made_with(made, "vqvae_sha256", vqvae_card["sha256"], request["vqvae"])
    tokens = np.stack(read_samples(request["tokens"], request["settings"]["samples"], request["manifest"]))
    labels = read_labels(request["manifest"])
    validation = None
    if request["validation"]:
        validation = read_validation(**request["validation"], seed=request["seed"])
    start, checkpoint = time.monotonic(), Checkpoint(Path(request["checkpoint"]))
    model, curve = finetune(
        var,
        vqvae.quantize.to(device),
        tokens,
        labels,
        request["settings"],
        seed=request["seed"],
        device=device,
        validation=validation,
        checkpoint=checkpoint,
        report=report if first else lambda line: None,
    )
    if first:
        seconds = checkpoint.seconds + time.monotonic() - start
        write_finetuned(request, model, curve, vqvae_card, card, device, seconds)


def write_finetuned(
    request: dict[str, Any],
    model: VAR,
    curve: Curve,
    vqvae_card: Card,
    base: Card,
    device: torch.device,
    seconds: float,
) -> None:
    """The outputs of finetune_files; the training's checkpoint, no longer needed, goes."""
    card = {
        "finetuned_from": base["sha256"],
        "vqvae_sha256": vqvae_card["sha256"],
        "settings": request["settings"],
        "kept": kept_step(curve, top1),
        "seed": request["seed"],
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "processes": dist.get_world_size() if dist.is_initialized() else 1,
        "seconds": seconds,
        "peak_memory_bytes": peak_memory(device),
    }
    write_curve(request["curve"], curve)
    plot_finetuning(request["plot"], curve)
    save_model(request["weights"], model.cpu(), card)
    Path(request["checkpoint"]).unlink(missing_ok=True)


def own_gpu(rank: int, processes: int) -> torch.device:
    """The GPU of a process of several on this node. Raises InputError where there are fewer GPUs."""
    if processes > torch.cuda.device_count():
        raise InputError(
            f"processes: {processes}, but this node gives {torch.cuda.device_count()} GPUs; "
            f"ask for as many: --set-resources finetune:gpu={processes} finetune:processes={processes}"
        )
    return torch.device("cuda", rank)


def finetune_in_processes(request: dict[str, Any], processes: int, report: Callable[[str], None]) -> None:
    """finetune_files in several processes on this node; report gets the lines that they write.

    Raises InputError where one of them fails, with the message of the first; torchrun has ended the others then.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "request.json"
        job = making.get()
        told = [job.run, job.seed, made_from()] if job else None
        path.write_text(json.dumps({**request, "job": told}))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command += ["-m", "varc.training.finetune_files", str(path)]
        message = ""
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as torchrun:
            for line in torchrun.stderr or ():
                if line.startswith(ERROR):
                    message = message or line.removeprefix(ERROR).rstrip()
                elif not message:  # after it torchrun tells of its processes
                    report(line.rstrip())
    if torchrun.returncode:
        raise InputError(message or "a process of the fine-tuning failed; its message is above")


def main() -> None:
    """The entry of torchrun: one of several processes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    request = json.loads(Path(sys.argv[1]).read_text())
    if request["job"]:
        run, seed, origin = request["job"]
        making.set(Making(run, seed, lambda: origin))
    backend = "nccl" if pick_device(request["device"]).type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        finetune_files(request, logging.getLogger("varc").info)
    except InputError as error:
        sys.exit(f"{ERROR}{error}")
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
