"""Memory that scoring takes of a GPU, on one that is pretended: python benchmarks/simulated_memory.py.

Peak bytes of all tensors beyond model and inputs, as a share of the memory that is free, which does not limit it here.
A d16 of 32 instead of 1,024 numbers a token and all its 680 tokens; 64 MiB free stand for 2 GiB. Nothing is random but
weights and tokens, so the figures are the same on every machine. Minutes, on the CPU.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import torch
from device.pretend import CUDA, PretendCuda
from random_models import public_shape, random_quantizer, random_var

from varc.scoring.guidance import score_guided
from varc.scoring.likelihood import score
from varc.scoring.progressive import adaptive_scores

MIB = 2**20
FREE = 64 * MIB
SIZES = ((8, 5), (2, 25), (1, 100))  # images, classes


def adaptive(var: Any, quantizer: Any, tokens: Any, candidates: Any) -> None:
    """An adaptive funnel that drops no candidate, its worst case."""
    never = np.full(len(var.config.patch_nums), np.inf)
    adaptive_scores(var, quantizer, [tokens], candidates, never, device=CUDA)


SCORINGS: dict[str, Callable[..., Any]] = {
    "score": lambda *inputs: score(*inputs, device=CUDA),
    "adaptive, nothing dropped": adaptive,
    "guided": lambda *inputs: score_guided(*inputs, 1.5, device=CUDA),
}


def peak(run: Callable[..., Any], images: int, classes: int) -> int:
    """Peak bytes of the images' scoring under so many classes, beyond the model."""
    vqvae, config = public_shape("var_d16", classes)
    config = replace(config, width=32, heads=1, vocab_size=64)
    quantizer = random_quantizer(replace(vqvae, vocab_size=64))
    tokens = np.random.default_rng(0).integers(0, 64, (images, config.num_tokens)).astype(np.uint16)
    candidates = np.tile(np.arange(classes, dtype=np.int32), (images, 1))
    var = random_var(config)
    with PretendCuda() as gpu:
        var, quantizer = var.to(CUDA), quantizer.to(CUDA)
        before = gpu.peak = gpu.live
        gpu.total = before + FREE
        run(var, quantizer, tokens, candidates)
        return gpu.peak - before


def main() -> None:
    torch.set_num_threads(1)
    print("| scoring |", " | ".join(f"{n} image{'s' * (n > 1)}, {m} classes" for n, m in SIZES), "|")
    print("| --- |", " | ".join("---" for _ in SIZES), "|")
    for name, run in SCORINGS.items():
        found = [peak(run, *size) for size in SIZES]
        print(f"| {name} |", " | ".join(f"{bytes_ / FREE:.2f}" for bytes_ in found), "|", flush=True)


if __name__ == "__main__":
    main()
