"""Peak memory and seconds of CCA steps at a public shape, random weights: python benchmarks/cca_memory.py [--depth 16].

Beside the plan (varc/costs/memory.py). On the CPU, Python, torch and the first weights come on top, which "at the
start" says, and glibc keeps much of what is freed: MALLOC_MMAP_THRESHOLD_=65536 MALLOC_TRIM_THRESHOLD_=65536 let it go.
"""

import argparse
import time

import numpy as np
import torch
from engine import random_model

from varc.costs.memory import finetune_bytes
from varc.device import peak_memory
from varc.training.finetune import finetune


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"))
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    var, quantizer = random_model(arguments.depth)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 4096, (1, 64, 680)).astype(np.uint16)
    settings = {"beta": 0.02, "lambda": 50.0, "lr": 2e-5}
    settings |= {name: getattr(arguments, name) for name in ("steps", "batch_size", "accumulate", "precision")}
    sequences = 2 * arguments.batch_size // arguments.accumulate
    planned = finetune_bytes(var.config, sequences, arguments.precision, True, var.config.num_classes)
    before = peak_memory(device)
    start = time.perf_counter()
    _, curve = finetune(var, quantizer.to(device), tokens, rng.integers(0, 1000, 64), settings, seed=0, device=device)
    seconds = (time.perf_counter() - start) / arguments.steps
    peak = peak_memory(device)
    print(
        f"depth {arguments.depth}, batch {arguments.batch_size} in {arguments.accumulate} parts: {seconds:.1f} s a step"
    )
    print(f"peak {peak / 1e9:.2f} GB, planned {planned / 1e9:.2f}, at the start {before / 1e9:.2f}")
    print(f"last loss {curve[-1]['loss']:.4f}")


if __name__ == "__main__":
    main()
