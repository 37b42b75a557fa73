"""Plain evaluator against engine: python benchmarks/engine.py [--device cuda] [--repeats 3], or `make bench`.

Random weights, one image, full scores of all classes. Runs alternate, so that noise of the machine hits all alike;
figures are medians over the repeats. GMAC/s counts linear layers and heads as fvcore does, without attention, so
that plain and engine are measured by the same useful work; sgemm is this machine's own rate on a 2048 x 2048 product.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from plain import plain_scores
from random_models import public_shape, random_quantizer, random_var
from torch import Tensor

from varc.costs.models import pass_cost
from varc.errors import InputError
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR
from varc.scoring.forms import computing_on
from varc.scoring.likelihood import score

CASES = {"8 layers, 100 classes": (8, 100), "16 layers, 6 classes": (16, 6)}
PLAIN_BATCHES = (1, 2, 4, 10)


def random_model(depth: int) -> tuple[VAR, MultiScaleQuantizer]:
    """A VAR of the public shape at a depth, and a quantiser, with random weights."""
    vqvae, config = public_shape("var_d16")
    return random_var(replace(config, depth=depth, width=64 * depth, heads=depth)), random_quantizer(vqvae)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """GMAC/s of a square product."""
    a = torch.randn(2048, 2048, device=device).to(dtype)
    times = [seconds(lambda: a @ a, device) for _ in range(12)]
    return 2048**3 / statistics.median(times[2:]) / 1e9


def measure(name: str, depth: int, classes: int, device: torch.device, repeats: int, folder: Path) -> None:
    var, quantizer = random_model(depth)
    var, quantizer = var.to(device), quantizer.to(device)
    tokens = torch.randint(0, 4096, (1, 680))
    candidates = np.arange(classes, dtype=np.int32)[None]
    on_device, labels = tokens.to(device), torch.arange(classes)[None].to(device)
    stored = tokens.numpy().astype(np.uint16)
    results: dict[str, Tensor] = {}

    def plain(batch: int) -> None:
        results[f"plain, batch {batch}"] = plain_scores(var, quantizer, [on_device], labels, batch)

    models = {}
    for precision in ("float32", "bf16"):
        try:
            models[precision] = computing_on(device, var, precision, 10, folder)
        except InputError as problem:
            print(f"{precision} left out: {problem}")
    for precision, model in models.items():
        print(f"{precision}: {', '.join(model.arithmetic.forms)}")

    def engine(precision: str) -> None:
        found = score(models[precision], quantizer, stored, candidates, device=device)
        results[f"engine, {precision}"] = torch.from_numpy(found).sum(-1)

    runs: dict[str, Callable[[], None]] = {f"plain, batch {b}": lambda b=b: plain(b) for b in PLAIN_BATCHES}  # type: ignore[misc]
    runs |= {f"engine, {p}": lambda p=p: engine(p) for p in models}  # type: ignore[misc]
    times: dict[str, list[float]] = {run: [] for run in runs}
    rates: list[float] = []
    for _ in range(repeats):
        rates.append(product_rate(device, torch.float32))
        for run, call in runs.items():
            times[run].append(seconds(call, device))
    sgemm = statistics.median(rates)
    gflops = classes * pass_cost(var.config, 10).gflops
    median = {run: statistics.median(values) for run, values in times.items()}
    best = min(median[f"plain, batch {b}"] for b in PLAIN_BATCHES)
    exact = results["plain, batch 1"]
    print(f"\n{name}, {gflops / classes:.1f} GMAC a pass, sgemm {sgemm:.0f} GMAC/s, {repeats} alternating runs")
    print("| run | s | GMAC/s | share of sgemm | x plain, batch 1 | x plain, best | largest difference, nats |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for run, took in median.items():
        rate = gflops / took
        difference = (results[run] - exact).abs().max()
        first = median["plain, batch 1"] / took
        ratios = f"{rate / sgemm:.2f} | {first:.2f} | {best / took:.2f}"
        print(f"| {run} | {took:.2f} | {rate:.1f} | {ratios} | {difference:.2g} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", choices=CASES, action="append")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    with tempfile.TemporaryDirectory() as folder:  # of the forms that are chosen
        for name in arguments.case or CASES:
            measure(name, *CASES[name], device, arguments.repeats, Path(folder))


if __name__ == "__main__":
    main()
