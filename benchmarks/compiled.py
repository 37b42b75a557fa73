"""Does torch.compile pay in the engine? python benchmarks/compiled.py [--device cuda]; alternating runs."""

import argparse
import statistics

import numpy as np
import torch
from engine import random_model, seconds

from varc.models.arithmetic import Arithmetic
from varc.scoring import likelihood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=4)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    var, quantizer = (module.to(device) for module in random_model(8))
    tokens = torch.randint(0, 4096, (1, 680)).numpy().astype(np.uint16)
    classes = np.arange(9, dtype=np.int32)[None]
    eager, onednn = likelihood.block_pass, likelihood.ONEDNN
    passes = {"eager": eager, "compiled": torch.compile(lambda *args: eager(*args))}
    for precision in ("float32", "bf16"):
        model = likelihood.computing(var, Arithmetic(precision))
        times: dict[str, list[float]] = {name: [] for name in passes}
        for _ in range(1 + arguments.repeats):
            for name, block_pass in passes.items():
                likelihood.block_pass = block_pass
                likelihood.ONEDNN = onednn and name == "eager"  # the compiler brings oneDNN's operators itself
                run = lambda: likelihood.score(model, quantizer, tokens, classes, device=device)  # noqa: E731, B023
                times[name].append(seconds(run, device))
        warm = {name: statistics.median(values[1:]) for name, values in times.items()}
        ratio = warm["eager"] / warm["compiled"]
        print(f"{precision}: compiled runs at {ratio:.2f} x eager; its first run took {times['compiled'][0]:.0f} s")


if __name__ == "__main__":
    main()
