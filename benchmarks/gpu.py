"""How fast a GPU classifies, and how much of it that takes: python benchmarks/gpu.py, or `make bench-gpu`.

The public shapes d16 and d30 with random weights and 100 classes; a few minutes on a card of 80 GB. Every run is warmed
up; a figure is the median of up to 20 runs, fewer where they take long. FLOPs are twice fvcore's multiply-adds, which
leave out attention's; the share is of the rate of square products in the same dtype, on the same card, just before.
`--device cpu --quick` goes the same way with tiny shapes. Needs torch and NumPy; for the adaptive funnel pyarrow, for
the encoder pillow.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # varc may not be installed

import numpy as np
import torch
from adaptive_plan import PAPER
from card import environment, synchronize
from numpy.typing import NDArray
from random_models import public_shape, random_quantizer, random_var, random_vqvae, var_shape

from varc.costs.closed_form import adaln_weights, encoder_gflops, pass_gflops
from varc.device import check_precision, peak_memory, pick_device
from varc.errors import InputError
from varc.models.arithmetic import Arithmetic
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.scales import tokens_at
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAEConfig
from varc.planning import images_at_once
from varc.scoring.batching import pairs_per_batch, pass_bytes
from varc.scoring.likelihood import computing, score

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}  # by name; the dtype of most products
OUTPUT = Path(__file__).with_name("output") / "gpu.md"
SAMPLES = 3
MOST_RUNS = 20
QUICK = VQVAEConfig((1, 2, 3, 4), 32, (1, 2), 1, 8, 64, 8)
T = TypeVar("T")


class Sizes(NamedTuple):
    """How much is measured."""

    shapes: dict[str, tuple[VQVAEConfig, VARConfig]]
    classes: int
    images: int  # of a run
    encoded: int  # images of a run of the encoder
    product: int  # rows and columns
    funnel: tuple[tuple[int, int], ...]  # scales, and how many candidates are scored there
    budget: float  # seconds of the runs of one figure


def sizes(quick: bool) -> Sizes:
    """The public shapes; or tiny ones, for trying this without a card."""
    if quick:
        tiny = {"tiny": (QUICK, var_shape(QUICK, classes=10, depth=1, width=32, heads=2))}
        return Sizes(tiny, 10, 2, 4, 128, ((3, 10), (4, 5), (4, 3)), 0.05)
    shapes = {name: public_shape(name) for name in ("var_d16", "var_d30")}
    return Sizes(shapes, 100, 4, 64, 8192, ((6, 100), (10, 10), (10, 3)), 12.0)


class Job(NamedTuple):
    """A model on its device, and images as tokens (S, N, L): the clean sample, and noisy ones."""

    var: VAR
    quantizer: MultiScaleQuantizer
    samples: NDArray[np.uint16]
    candidates: NDArray[np.int32]  # (N, M)
    device: torch.device
    precision: str


class Row(NamedTuple):
    """A line of the table: seconds of a pass and of an image, GFLOPs as fvcore counts them, bytes. None: not there."""

    model: str
    precision: str
    product_gflops_per_second: float
    gflops: float  # of a pass
    pass_seconds: float
    varc_seconds: float
    funnel_seconds: float
    adaptive_seconds: float | None
    peak_bytes: int
    planned_bytes: int


def timed(run: Callable[[], T], device: torch.device, budget: float) -> tuple[float, T]:
    """The median time of a run, after one to warm up, and its result: once at least, and while the budget lasts."""
    start = time.perf_counter()
    result = run()
    synchronize(device)
    times: list[float] = []
    while not times or (len(times) < MOST_RUNS and time.perf_counter() - start + times[-1] < budget):
        begun = time.perf_counter()
        result = run()
        synchronize(device)
        times.append(time.perf_counter() - begun)
    return statistics.median(times), result


def product_rate(side: int, dtype: torch.dtype, device: torch.device, budget: float) -> float:
    """G multiply-adds per second of a square product: the ceiling."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return side**3 / 1e9 / timed(lambda: a @ b, device, budget)[0]


def measure(name: str, precision: str, size: Sizes, device: torch.device) -> Row:
    """The line of a model in a precision. Raises InputError where the device lacks it."""
    check_precision(precision, device)
    ceiling = product_rate(size.product, PRECISIONS[precision], device, size.budget)
    job = random_job(size.shapes[name], size, device, precision)
    config = job.var.config
    planned = planned_bytes(job)
    forget_peak(device)
    seconds, per_scale = timed(lambda: full(job), device, size.budget)
    peak = peak_memory(device)
    funnel_seconds, _ = timed(lambda: fixed(job, size.funnel), device, size.budget)
    adaptive = adaptive_seconds(job, per_scale, size.budget) if precision == "float32" else None
    return Row(
        name,
        precision,
        ceiling,
        pass_gflops(config, len(config.patch_nums)),
        seconds / job.candidates.size,
        seconds / size.images,
        funnel_seconds / size.images,
        None if adaptive is None else adaptive / size.images,
        peak,
        planned,
    )


def random_job(shapes: tuple[VQVAEConfig, VARConfig], size: Sizes, device: torch.device, precision: str) -> Job:
    """Random weights and tokens; the candidates are the first classes."""
    vqvae, config = shapes
    shape = (SAMPLES, size.images, config.num_tokens)
    samples = np.random.default_rng(0).integers(0, config.vocab_size, shape).astype(np.uint16)
    candidates = np.tile(np.arange(size.classes, dtype=np.int32), (size.images, 1))
    var = computing(random_var(config, device), Arithmetic(precision))
    return Job(var, random_quantizer(vqvae).to(device), samples, candidates, device, precision)


def full(job: Job) -> NDArray[np.float64]:
    """VARC: all classes at all scales."""
    return scored(job, job.samples[0], job.candidates)


def scored(job: Job, tokens: NDArray[np.uint16], candidates: NDArray[np.int32]) -> NDArray[np.float64]:
    return score(job.var, job.quantizer, tokens, candidates, device=job.device)


def fixed(job: Job, funnel: Sequence[tuple[int, int]]) -> None:
    """A-VARC+: stages of ever fewer candidates; the last one adds the noisy samples, the clean one is there by then."""
    for scales, kept in funnel[:-1]:
        scored(job, job.samples[0, :, : tokens_at(job.var.config.patch_nums, scales)], job.candidates[:, :kept])
    for tokens in job.samples[1:]:
        scored(job, tokens, job.candidates[:, : funnel[-1][1]])


def adaptive_seconds(job: Job, per_scale: NDArray[np.float64], budget: float) -> float | None:
    """Of an adaptive funnel that keeps as many candidates as the paper's; None where its packages are missing."""
    try:
        from varc.scoring.progressive import adaptive_scores
    except ModuleNotFoundError:
        return None
    thresholds, tokens = thresholds_that_keep(per_scale, PAPER), list(job.samples)

    def run() -> None:
        adaptive_scores(job.var, job.quantizer, tokens, job.candidates, thresholds, device=job.device)

    return timed(run, job.device, budget)[0]


def thresholds_that_keep(per_scale: NDArray[np.float64], shares: Sequence[float]) -> NDArray[np.float64]:
    """Thresholds (K,) after which about such shares of all candidates are left, from log-likelihoods (N, M, K).

    Random weights tell no class from another, so what would drop at a fixed threshold means nothing. None is dropped
    after the last scale, and none where there is no share for it.
    """
    so_far, result = per_scale.cumsum(2), np.full(per_scale.shape[2], np.inf)
    behind = so_far.max(1, keepdims=True) - so_far
    alive = np.ones(behind.shape[:2], bool)
    for k, share in zip(range(len(result) - 1), shares, strict=False):
        left = np.sort(behind[..., k][alive])
        result[k] = left[min(len(left), max(1, round(share * alive.size))) - 1]
        alive &= behind[..., k] <= result[k]
    return result


def planned_bytes(job: Job) -> int:
    """What full takes at most: weights, copies in another dtype, what depends on classes, and the engine's batch."""
    config = job.var.config
    pairs = min(job.candidates.size, pairs_per_batch(job.var, config.num_tokens, job.device))
    weights = 4 * sum(p.numel() for p in job.var.parameters())
    copies = sum(p.numel() for p in job.var.blocks.parameters()) * PRECISIONS[job.precision].itemsize
    tables = 4 * job.candidates.shape[1] * adaln_weights(config) // config.width
    batch = pass_bytes(config, config.num_tokens) * pairs
    return weights + (copies if job.precision != "float32" else 0) + tables + batch


def forget_peak(device: torch.device) -> None:
    """From here on the peak of the GPU's memory is counted anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def encoder_line(vqvae: VQVAEConfig, size: Sizes, device: torch.device) -> str:
    """What the encoder does, with the copies of images and features."""
    try:
        from varc.scoring.smoothing import encode
    except ModuleNotFoundError as missing:
        return f"Encoder: not measured, needs {missing.name}."
    side = vqvae.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (size.encoded, side, side, 3), np.uint8)
    model = random_vqvae(vqvae).to(device)
    took = timed(lambda: encode(model, pixels, images_at_once(side), device), device, size.budget)[0] / size.encoded
    rate = 2 * encoder_gflops(vqvae) / took / 1e3
    return f"Encoder, float32, {side} pixels: {1 / took:.1f} images/s, {rate:.1f} TFLOP/s."


HEADS = (
    "model",
    "precision",
    "product, TFLOP/s",
    "ms a pass",
    "TFLOP/s",
    "share of product",
    "VARC, images/s",
    "A-VARC+, images/s",
    "adaptive, images/s",
    "peak GB",
    "planned GB",
)


def cells(row: Row) -> list[str]:
    """A line of the table, as text."""
    rate = row.gflops / row.pass_seconds
    adaptive = "" if row.adaptive_seconds is None else f"{1 / row.adaptive_seconds:.3g}"
    speeds = [f"{1 / seconds:.3g}" for seconds in (row.varc_seconds, row.funnel_seconds)]
    memory = [f"{size / 1e9:.2f}" for size in (row.peak_bytes, row.planned_bytes)]
    tera = [f"{2 * value / 1e3:.3g}" for value in (row.product_gflops_per_second, rate)]
    share = f"{rate / row.product_gflops_per_second:.0%}"
    return [
        row.model,
        row.precision,
        tera[0],
        f"{1e3 * row.pass_seconds:.3g}",
        tera[1],
        share,
        *speeds,
        adaptive,
        *memory,
    ]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table; a line that is too short says why in its last cell."""
    filled = [[*line, *[""] * (len(HEADS) - len(line))] for line in [HEADS, ["---"] * len(HEADS), *lines]]
    return "\n".join(f"| {' | '.join(line)} |" for line in filled)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, for trying this without a card")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    try:
        device, size = pick_device(options.device), sizes(options.quick)
    except InputError as problem:
        sys.exit(str(problem))
    lines = []
    for name in size.shapes:
        for precision in PRECISIONS:
            try:
                lines.append(cells(measure(name, precision, size, device)))
            except InputError as problem:
                lines.append([name, precision, str(problem)])
    where = "; ".join(f"{key} {value}" for key, value in environment(device).items())
    encoder = encoder_line(next(iter(size.shapes.values()))[0], size, device)
    text = f"{where}. {size.classes} classes, {size.images} images a run.\n\n{markdown(lines)}\n\n{encoder}\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
