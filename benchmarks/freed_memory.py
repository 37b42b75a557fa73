"""What keeping freed memory saves on a CPU (varc.device.keep_freed_memory): python benchmarks/freed_memory.py.

CPU seconds of scoring, encoding and training steps on one thread, small models and random weights, each in processes of
its own: as glibc comes, and as jobs run. The two alternate; medians over the repeats.
"""

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from varc.device import keep_freed_memory
from varc.models.scales import tokens_at
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.scoring.likelihood import score
from varc.scoring.smoothing import encode

CPU = torch.device("cpu")
PATCH_NUMS = (1, 2, 3, 4, 5, 7)


def models() -> tuple[VQVAE, VAR]:
    """A VQ-VAE and a VAR of the size of config/fashion_mnist.yaml."""
    torch.manual_seed(0)
    sizes = {"ch": 16, "ch_mult": (1, 2, 2), "num_res_blocks": 1, "norm_groups": 8}
    vqvae = VQVAE(VQVAEConfig(patch_nums=PATCH_NUMS, z_channels=8, vocab_size=128, **sizes)).eval()
    return vqvae, VAR(VARConfig(4, 64, 4, 10, 128, 8, PATCH_NUMS)).eval()


def score_images(images: int = 48) -> None:
    vqvae, var = models()
    tokens = np.random.default_rng(0).integers(128, size=(images, tokens_at(PATCH_NUMS, 6))).astype(np.uint16)
    score(var, vqvae.quantize, tokens, np.tile(np.arange(10, dtype=np.int32), (images, 1)), device=CPU)


def encode_images(images: int = 512) -> None:
    vqvae, _ = models()
    encode(vqvae, np.zeros((images, 28, 28, 3), np.uint8), 64, CPU)


def train(steps: int = 8, batch: int = 64) -> None:
    vqvae, var = models()
    labels, tokens = torch.arange(batch) % 10, torch.randint(128, (batch, tokens_at(PATCH_NUMS, 6)))
    teacher_input = vqvae.quantize.teacher_input(tokens).detach()
    for _ in range(steps):
        logits = var.train()(labels, teacher_input)
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()


WORKS = {"score": score_images, "encode": encode_images, "train": train}


def clock(name: str, kept: bool) -> float:
    """CPU seconds of a work in a process of its own, without its start."""
    command = [sys.executable, __file__, "--work", name, *(["--kept"] if kept else [])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        torch.set_num_threads(1)
        if arguments.kept:
            keep_freed_memory()
        WORKS[arguments.work]()  # what is prepared once
        start = time.process_time()
        WORKS[arguments.work]()
        print(time.process_time() - start)
        return
    print("| work | as it comes, s | kept, s | ratio |\n| --- | --- | --- | --- |")
    for name in WORKS:
        pairs = [[clock(name, kept) for kept in (False, True)] for _ in range(arguments.repeats)]
        plain, kept = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {plain:.2f} | {kept:.2f} | {plain / kept:.2f} |", flush=True)


if __name__ == "__main__":
    main()
