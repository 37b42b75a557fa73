"""Which of the exact forms is fastest, by a short measurement of the very shapes that a job computes."""

import itertools
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor

from varc.device import check_precision, device_name, products_in
from varc.errors import InputError
from varc.models.arithmetic import Arithmetic, Forms
from varc.models.scales import tokens_at
from varc.models.var import VAR
from varc.scoring.attention import HEAD_ROWS, attend, log_prob
from varc.scoring.batching import pairs_per_batch
from varc.scoring.likelihood import computing
from varc.seal import read_json, write_json

ATTENTION = ("fused", "products", "masked")
ROUNDS = "products"  # whose logits are rounded to bfloat16 there, so that it is no exact form
LOG_PROB = ("logsumexp", "log_softmax")
REPEATS = 5
MOST_PAIRS = 64  # that are measured
PINNED = "VARC_FORMS"  # a variable that names both, as "fused,logsumexp", in place of any measurement


def computing_on(device: torch.device, var: VAR, precision: str, scales: int, folder: Path | None) -> VAR:
    """The model on a device, computing there in a precision and by the forms that are fastest for its first scales.

    folder: where the choice stays, see chosen_forms; None: without a choice. Raises InputError where the device lacks
    the precision.
    """
    check_precision(precision, device)
    var = var.to(device)
    forms = chosen_forms(var, scales, precision, device, folder) if folder else Forms()
    return computing(var, Arithmetic(precision, forms))


def chosen_forms(var: VAR, scales: int, precision: str, device: torch.device, folder: Path) -> Forms:
    """The fastest forms for a model at its first scales, as measured the first time that this machine asked.

    The choice stays in `folder`, a file for each device, number of threads, precision and shape: a job that goes on, or
    another one beside it, takes what the first one chose. Raises InputError where VARC_FORMS names no forms.
    """
    if pinned := os.environ.get(PINNED):
        return pinned_forms(pinned)
    config = var.config
    patch_nums = config.patch_nums[:scales]
    host = "" if device.type == "cuda" else f" of {platform.node()} {torch.backends.cpu.get_cpu_capability()}"
    place = f"{device_name(device)}{host}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    shape = f"width{config.width}-heads{config.heads}-codes{config.vocab_size}-{'_'.join(map(str, patch_nums))}"
    file = folder / "".join(c if c.isalnum() else "_" for c in place) / f"{precision}-{shape}.json"
    if not file.is_file():
        write_first(file, measure_forms(var, patch_nums, precision, device)._asdict())
    return Forms(**read_json(file))


def write_first(file: Path, record: dict[str, str]) -> None:
    """Writes a record, but leaves the one that another job has written meanwhile."""
    own = file.with_name(f"{file.name}.{platform.node()}.{os.getpid()}")
    write_json(own, record)
    with suppress(FileExistsError):
        os.link(own, file)
    own.unlink()


def pinned_forms(names: str) -> Forms:
    """The forms that VARC_FORMS names. Raises InputError where it names others than there are."""
    found = tuple(names.split(","))
    if found not in (known := list(itertools.product(ATTENTION, LOG_PROB))):
        raise InputError(f"{PINNED}={names}: expected one of {', '.join(map(','.join, known))}")
    return Forms(*found)


def measure_forms(var: VAR, patch_nums: Sequence[int], precision: str, device: torch.device) -> Forms:
    """The forms that take the least time for a batch of pairs at some scales, on random numbers."""
    return Forms(*(min(found, key=found.__getitem__) for found in seconds_of_forms(var, patch_nums, precision, device)))


@torch.inference_mode()
def seconds_of_forms(
    var: VAR, patch_nums: Sequence[int], precision: str, device: torch.device
) -> tuple[dict[str, float], dict[str, float]]:
    """The least seconds that each form of attention in one block, and of log p of HEAD_ROWS positions, took."""
    config, length = var.config, tokens_at(patch_nums, len(patch_nums))
    pairs = min(pairs_per_batch(var, length, device), MOST_PAIRS)
    dtype, generator = Arithmetic(precision).dtype, torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    heads = config.heads, length, config.width // config.heads
    q, kv = random(pairs, *heads).to(dtype), random(2, pairs, *heads).to(dtype)
    spans = list(pairwise(accumulate((p * p for p in patch_nums), initial=0)))
    logits = random(min(HEAD_ROWS, pairs * length), config.vocab_size)
    target = torch.zeros(len(logits), dtype=torch.int64, device=device)
    forms = [form for form in ATTENTION if precision != "bf16" or form != ROUNDS]
    with products_in(precision):
        attention = seconds_of(forms, lambda form: attend(q, kv, spans, form), device)
    return (
        attention,
        seconds_of(LOG_PROB, lambda form: log_prob(logits, target, form), device),
    )


def seconds_of(forms: Sequence[str], run: Callable[[str], Tensor], device: torch.device) -> dict[str, float]:
    """The least seconds of REPEATS runs of each form; runs alternate, the first of each not counted."""
    taken: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(1 + REPEATS):
        for form in forms:
            start = time.perf_counter()
            run(form)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken[form].append(time.perf_counter() - start)
    return {form: min(seconds[1:]) for form, seconds in taken.items()}
