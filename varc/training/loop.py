"""The optimisation loop that every training here shares."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor

from varc.errors import InputError
from varc.files import whole
from varc.keep import Pace, fingerprint_text
from varc.models.weights import save_tensors

Curve = list[dict[str, float]]


@dataclass
class Checkpoint:
    """Where a training's state is kept, so that a killed one goes on and ends as an undisturbed one does."""

    path: Path
    seconds: float = 0.0  # that earlier runs took up to the state that was gone on from


@dataclass
class State:
    """What a training's steps change or draw from beside the parameters and the optimiser's state.

    fingerprint: what the training is made from; a file with another one is not gone on from. tensors, generators:
    restored in place. keep, record: tensors and numbers by name, replaced by those of the file.
    """

    fingerprint: str
    tensors: Sequence[Tensor] = ()
    generators: Sequence[torch.Generator] = ()
    keep: dict[str, Tensor] = field(default_factory=dict)
    record: dict[str, float] = field(default_factory=dict)

    def named(self) -> dict[str, Tensor]:
        """All tensors and generators, by the names that they have in a file."""
        found = {f"tensor.{i}": tensor for i, tensor in enumerate(self.tensors)}
        found |= {f"generator.{i}": generator.get_state() for i, generator in enumerate(self.generators)}
        return found | {f"keep.{name}": tensor for name, tensor in self.keep.items()}

    def restore(self, name: str, value: Tensor) -> None:
        """Gives back what `named` gave."""
        kind, _, rest = name.partition(".")
        if kind == "tensor":
            self.tensors[int(rest)].data.copy_(value)
        elif kind == "generator":
            self.generators[int(rest)].set_state(value)
        else:
            self.keep[rest] = value


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
    state: State | None = None,
) -> Curve:
    """Runs AdamW with a one-cycle learning rate and gradients clipped at norm `clip`.

    The schedule moves beta1 too, against the learning rate: from 0.95 down to 0.85, where lr is largest, and back
    (OneCycleLR's cycle_momentum, whatever beta1 AdamW was given); beta2 is 0.95.

    losses(step) yields named scalar losses per micro-batch, each its share of the batch's mean; their gradients add
    up, and the one named "loss" is minimised. after(row) may add to a step's row. report gets a progress line about
    twenty times. Where torch.distributed is set up, losses are averaged over the processes; gradients are the
    caller's matter (DistributedDataParallel). Returns the training curve: one row per step with "step", "lr" and
    every loss. With a checkpoint and the state that belongs in it, a killed training goes on.

    Raises InputError when the loss is not finite.
    """
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.15)
    saved = Saved(checkpoint, state, parameters, optimizer, schedule) if checkpoint and state else None
    curve = go_on(saved, report) if saved else []
    before, start, pace = len(curve), time.monotonic(), Pace()
    if before:
        report(f"goes on after step {before} of {steps}")
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
        if saved and pace.due() and step + 1 < steps:
            try:
                with pace.saving():
                    save_checkpoint(saved, curve, time.monotonic() - start)
            except InputError as error:
                report(f"the state after step {step + 1} is not kept: {error}")
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


class Saved(NamedTuple):
    """A checkpoint, and all that is in it but the curve."""

    checkpoint: Checkpoint
    state: State
    parameters: list[Tensor]
    optimizer: torch.optim.Optimizer
    schedule: Any


def save_checkpoint(saved: Saved, curve: Curve, seconds: float) -> None:
    """Writes the state, whole or not at all; with several processes, the first one does. seconds: of this run."""
    if dist.is_initialized() and dist.get_rank() > 0:
        return
    optimizer = saved.optimizer.state_dict()
    tensors = {f"parameter.{i}": p.detach() for i, p in enumerate(saved.parameters)} | saved.state.named()
    tensors |= {f"optimizer.{i}.{name}": t for i, entry in optimizer["state"].items() for name, t in entry.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    facts = {
        "fingerprint": saved.state.fingerprint,
        "record": saved.state.record,
        "seconds": saved.checkpoint.seconds + seconds,
        "curve": curve,
        "groups": optimizer["param_groups"],
        "schedule": {key: value for key, value in saved.schedule.state_dict().items() if not callable(value)},
    }
    text = json.dumps(facts)
    checksum = digest(text, (tensors[name] for name in sorted(tensors)))
    with whole(saved.checkpoint.path) as temporary:
        save_tensors(tensors, temporary, {"varc": text, "sha256": checksum})


def go_on(saved: Saved, report: Callable[[str], None]) -> Curve:
    """Restores the state in place and returns the curve so far; empty where there is no file, or one that is damaged
    or of another training, which is reported."""
    path = saved.checkpoint.path
    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as file:
            text, checksum = (file.metadata()[key] for key in ("varc", "sha256"))
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        facts = json.loads(text)
        sound = digest(text, tensors.values()) == checksum
    except (OSError, SafetensorError, ValueError, TypeError, LookupError):
        sound = False
    if not sound:
        report(f"{path}: damaged, or of another version; not gone on from")
        return []
    if facts["fingerprint"] != saved.state.fingerprint:
        report(f"{path}: of other data, settings or code; not gone on from")
        return []
    entries: dict[int, dict[str, Tensor]] = {}  # of the optimiser
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "parameter":
            saved.parameters[int(rest)].data.copy_(tensor)
        elif kind == "optimizer":
            index, _, key = rest.partition(".")
            entries.setdefault(int(index), {})[key] = tensor
        else:
            saved.state.restore(name, tensor)
    saved.state.record.update(facts["record"])
    saved.checkpoint.seconds = facts["seconds"]
    saved.optimizer.load_state_dict({"state": entries, "param_groups": facts["groups"]})
    saved.schedule.load_state_dict(facts["schedule"])
    return facts["curve"]


def fingerprint(facts: Any, tensors: Iterable[Tensor]) -> str:
    """What a training is made from, as a digest: its first weights and its data, the job's origin, and further
    facts."""
    return digest(fingerprint_text(facts), tensors)


def digest(text: str, tensors: Iterable[Tensor]) -> str:
    """The SHA-256 of a text and of all bytes of some tensors, in hex."""
    found = hashlib.sha256(text.encode())
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
