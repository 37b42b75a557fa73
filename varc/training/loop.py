"""The optimisation loop that every training here shares."""

import math
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from varc.errors import InputError

Curve = list[dict[str, float]]


def optimise(
    parameters: Iterable[Tensor],
    losses: Callable[[int], dict[str, Tensor]],
    *,
    steps: int,
    lr: float,
    weight_decay: float = 0.05,
    report: Callable[[str], None] = print,
) -> Curve:
    """Runs AdamW (0.9, 0.95) with a one-cycle learning rate and gradients clipped at norm 1.

    losses(step) returns named scalar losses; the one named "loss" is minimised. report gets a progress line about
    twenty times. Returns the training curve: one row per step with "step", "lr" and every loss.

    Raises InputError when the loss is not finite.
    """
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.15)
    curve: Curve = []
    start = time.monotonic()
    for step in range(steps):
        values = losses(step)
        optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        row: dict[str, float] = {"step": step + 1, "lr": float(schedule.get_last_lr()[0])}
        row |= {name: value.item() for name, value in values.items()}
        optimizer.step()
        schedule.step()
        curve.append(row)
        if not math.isfinite(row["loss"]):
            raise InputError(f"the loss is {row['loss']} at step {step + 1} of {steps}: lower lr (now {lr})")
        if (step + 1) % max(1, steps // 20) == 0 or step + 1 == steps:
            report(progress_line(row, steps, time.monotonic() - start))
    return curve


def progress_line(row: dict[str, float], steps: int, seconds: float) -> str:
    """One line: step, losses, rate in steps per second, and the time left."""
    rate = row["step"] / max(seconds, 1e-9)
    losses = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in ("step", "lr"))
    return f"step {row['step']:.0f}/{steps}, {losses}, {rate:.1f} steps/s, ETA {(steps - row['step']) / rate:.0f} s"
