"""Batches larger than a grid of CUDA, and too little memory."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from agreement import CPU, difference, random_inputs
from numpy.typing import NDArray
from outcome import Result, Setup, at_most, attempt, needs_card
from random_models import random_quantizer, random_var, var_shape

from varc.models.architectures import PATCH_NUMS_256
from varc.models.vqvae import VQVAEConfig
from varc.scoring.guidance import score_guided
from varc.scoring.likelihood import score

SAME = 1e-6  # relative: the size of a batch changes the order of float32's sums only, in log-likelihoods of thousands
PAIRS = 70_000  # more than the 65,535 blocks that a grid may have in y and z
SHARE = 3  # of what a run takes with plenty of memory, one part is allowed
Scoring = Callable[[], NDArray[np.float64]]
Limited = AbstractContextManager[Callable[[], int]]  # a block with little memory; what it gives: how often it ran out


def many_pairs(setup: Setup) -> Iterator[Result]:
    """Scores of more pairs than a grid has blocks: in one batch as far as the engine goes, and in its own choice."""
    vqvae = VQVAEConfig(patch_nums=(1, 2), z_channels=8, vocab_size=16)
    config = var_shape(vqvae, classes=10, depth=1, width=16, heads=1)
    pairs = PAIRS // 100 if setup.quick else PAIRS
    var, quantizer, inputs = random_var(config), random_quantizer(vqvae), random_inputs(config, pairs // 10, 10)
    expected = score(var, quantizer, *inputs, device=CPU)
    var, quantizer = var.to(setup.device), quantizer.to(setup.device)
    for name, size in (("in one batch", pairs), ("in batches as chosen", None)):
        found = score(var, quantizer, *inputs, device=setup.device, batch_size=size)
        yield at_most(f"{pairs} pairs {name}", difference(found, expected), 1e-5)


def out_of_memory(setup: Setup) -> Iterator[Result]:
    """Scores, the adaptive funnel and guided scores with a third of the memory that they take where there is plenty."""
    needs_card(setup)
    for name, run in scorings(setup).items():
        yield from attempt(f"out of memory, {name}", lambda name=name, run=run: [on_card(name, run, setup.device)])


def scorings(setup: Setup) -> dict[str, Scoring]:
    """What may run out of memory, by name: each gives log-likelihoods (N, M)."""
    vqvae = VQVAEConfig(patch_nums=(1, 2, 3) if setup.quick else PATCH_NUMS_256, z_channels=8)
    config = var_shape(vqvae, classes=100, depth=2, width=64 if setup.quick else 512, heads=2)
    var, quantizer = random_var(config).to(setup.device), random_quantizer(vqvae).to(setup.device)
    tokens, candidates = random_inputs(config, 8, 25)

    def adaptive() -> NDArray[np.float64]:
        from varc.scoring.progressive import adaptive_scores

        all_survive = np.full(len(config.patch_nums), np.inf)
        found = adaptive_scores(var, quantizer, [tokens], candidates, all_survive, device=setup.device)
        return found.log_likelihood

    return {
        "score": lambda: score(var, quantizer, tokens, candidates, device=setup.device).sum(-1),
        "adaptive": adaptive,
        "guided": lambda: score_guided(var, quantizer, tokens, candidates, 1.5, device=setup.device).sum(-1),
    }


def on_card(name: str, run: Scoring, device: torch.device) -> Result:
    """See out_of_memory."""
    release()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    expected = run()
    taken = torch.cuda.max_memory_allocated(device) - before
    return compare_limited(name, run, expected, card_limit(taken // SHARE, device))


def compare_limited(name: str, run: Scoring, expected: NDArray[np.float64], limited: Limited) -> Result:
    """A run with little memory gives what it gave with plenty; memory must have run out, else nothing was shown."""
    with limited as times:
        found = run()
        ran_out = times()
    off = difference(found, expected)
    figure = f"ran out {ran_out} times, then off by {off:.2g}"
    return Result(f"out of memory, {name}", ran_out > 0 and off <= SAME, figure, f"at least once, at most {SAME:.2g}")


@contextmanager
def card_limit(extra: int, device: torch.device) -> Iterator[Callable[[], int]]:
    """For a block in which torch may take `extra` bytes of the card beyond what it holds."""
    release()
    allowed = torch.cuda.memory_reserved(device) + extra
    before = torch.cuda.memory_stats(device)["num_ooms"]
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.mem_get_info(device)[1], device)
    try:
        yield lambda: torch.cuda.memory_stats(device)["num_ooms"] - before
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        release()


def release() -> None:
    """Gives back what torch holds unused."""
    gc.collect()
    torch.cuda.empty_cache()
