"""How many (image, class) pairs a batch should hold on the CPU, for a small model and a larger one.

python benchmarks/batches.py: CPU seconds per pair, relative to the batch that the engine chooses; the runs alternate.
"""

import time

import numpy as np
import torch

from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.scoring.batching import pairs_per_batch
from varc.scoring.likelihood import score

CPU = torch.device("cpu")
SHAPES = {  # patch numbers, depth, width, heads, vocabulary, pairs
    "28 px, width 64": ((1, 2, 3, 4, 5, 7), 4, 64, 4, 128, 480),
    "256 px, width 512": ((1, 2, 3, 4, 5, 6, 8, 10, 13, 16), 4, 512, 8, 4096, 12),
}
RUNS = 3


def main() -> None:
    torch.set_num_threads(1)
    for name, (patch_nums, depth, width, heads, vocab, pairs) in SHAPES.items():
        torch.manual_seed(0)
        var = VAR(VARConfig(depth, width, heads, 10, vocab, 32, patch_nums)).eval()
        vqvae = VQVAE(VQVAEConfig(patch_nums=patch_nums, ch=32, vocab_size=vocab, z_channels=32)).eval()
        length = sum(p * p for p in patch_nums)
        tokens = np.random.default_rng(0).integers(vocab, size=(pairs // 2, length)).astype(np.uint16)
        candidates = np.tile(np.arange(2, dtype=np.int32), (len(tokens), 1))
        chosen = pairs_per_batch(var, length, CPU)
        sizes = sorted({chosen, *(max(1, chosen * k // 4) for k in (1, 2, 8, 16))})
        seconds = {size: [] for size in sizes}
        for _ in range(RUNS):
            for size in sizes:
                start = time.process_time()
                score(var, vqvae.quantize, tokens, candidates, device=CPU, batch_size=size)
                seconds[size].append(time.process_time() - start)
        best = {size: float(np.median(values)) for size, values in seconds.items()}
        print(f"{name}: " + ", ".join(f"{size} pairs {best[size] / best[chosen]:.2f}" for size in sizes), flush=True)


if __name__ == "__main__":
    main()
