"""The optimisation loop that every training here shares."""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor

from varc.errors import InputError
from varc.files import whole
from varc.models.weights import save_tensors

Curve = list[dict[str, float]]


class Checkpoint(NamedTuple):
    """Where a training's state is kept, so that a killed one goes on and ends as an undisturbed one does.

    fingerprint: what the training is made from; a file with another one is not gone on from. keep, record: further
    tensors and numbers of the caller, saved and restored along.
    """

    path: Path
    every: int  # steps
    fingerprint: str
    keep: dict[str, Tensor]
    record: dict[str, float]


def optimise(
    parameters: Iterable[Tensor],
    losses: Callable[[int], Iterator[dict[str, Tensor]]],
    *,
    steps: int,
    lr: float,
    weight_decay: float = 0.05,
    clip: float = 1.0,
    report: Callable[[str], None] = print,
    after: Callable[[dict[str, float]], dict[str, float]] = lambda row: {},
    checkpoint: Checkpoint | None = None,
) -> Curve:
    """Runs AdamW (0.9, 0.95) with a one-cycle learning rate and gradients clipped at norm `clip`.

    losses(step) yields named scalar losses per micro-batch, each its share of the batch's mean; their gradients add
    up, and the one named "loss" is minimised. after(row) may add to a step's row. report gets a progress line about
    twenty times. Where torch.distributed is set up, losses are averaged over the processes; gradients are the
    caller's matter (DistributedDataParallel). Returns the training curve: one row per step with "step", "lr" and
    every loss.

    Raises InputError when the loss is not finite.
    """
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.15)
    curve = go_on(checkpoint, parameters, optimizer, schedule) if checkpoint else []
    before, start = len(curve), time.monotonic()
    for step in range(before, steps):
        optimizer.zero_grad(set_to_none=True)
        row: dict[str, float] = {"step": step + 1, "lr": float(schedule.get_last_lr()[0])}
        sums: dict[str, Tensor] = {}
        for values in losses(step):
            values["loss"].backward()
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value.detach().double()
        row |= {name: mean_over_processes(value) for name, value in sums.items()}
        if not math.isfinite(row["loss"]):
            raise InputError(f"the loss is {row['loss']} at step {step + 1} of {steps}: lower lr (now {lr})")
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        schedule.step()
        row |= after(row)
        curve.append(row)
        if (step + 1) % max(1, steps // 20) == 0 or step + 1 == steps:
            report(progress_line(row, steps, (step + 1 - before) / max(time.monotonic() - start, 1e-9)))
        if checkpoint and (step + 1) % checkpoint.every == 0 and step + 1 < steps:
            save_checkpoint(checkpoint, parameters, optimizer, schedule, curve)
    return curve


def mean_over_processes(value: Tensor) -> float:
    """The mean of a scalar over the processes of torch.distributed; the scalar itself where there is one."""
    if not dist.is_initialized():
        return value.item()
    dist.all_reduce(value)
    return value.item() / dist.get_world_size()


def progress_line(row: dict[str, float], steps: int, rate: float) -> str:
    """One line: step, losses, rate in steps per second, and the time left."""
    losses = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in ("step", "lr"))
    return f"step {row['step']:.0f}/{steps}, {losses}, {rate:.1f} steps/s, ETA {(steps - row['step']) / rate:.0f} s"


def save_checkpoint(
    checkpoint: Checkpoint, parameters: list[Tensor], optimizer: torch.optim.Optimizer, schedule: Any, curve: Curve
) -> None:
    """Writes the state, whole or not at all; with several processes, the first one does."""
    if dist.is_initialized() and dist.get_rank() > 0:
        return
    state = optimizer.state_dict()
    tensors = {f"parameter.{i}": p.detach() for i, p in enumerate(parameters)}
    tensors |= {f"optimizer.{i}.{name}": t for i, entry in state["state"].items() for name, t in entry.items()}
    tensors |= {f"keep.{name}": t for name, t in checkpoint.keep.items()}
    facts = {
        "fingerprint": checkpoint.fingerprint,
        "record": checkpoint.record,
        "curve": curve,
        "groups": state["param_groups"],
        "schedule": {key: value for key, value in schedule.state_dict().items() if not callable(value)},
    }
    with whole(checkpoint.path) as temporary:
        save_tensors({name: t.contiguous() for name, t in tensors.items()}, temporary, {"varc": json.dumps(facts)})


def go_on(checkpoint: Checkpoint, parameters: list[Tensor], optimizer: torch.optim.Optimizer, schedule: Any) -> Curve:
    """Restores the state in place and returns the curve so far; empty where there is no file, or another training's."""
    try:
        with safe_open(checkpoint.path, "pt") as file:
            facts = json.loads(file.metadata()["varc"])
            if facts["fingerprint"] != checkpoint.fingerprint or "record" not in facts:  # another version's
                return []
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return []
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "parameter":
            parameters[int(rest)].data.copy_(tensor)
        elif kind == "keep":
            checkpoint.keep[rest] = tensor
        else:
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = tensor
    checkpoint.record.update(facts["record"])
    optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})
    schedule.load_state_dict(facts["schedule"])
    return facts["curve"]
