"""Results of the device against the CPU's, on random weights."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from outcome import Result, Setup, Skipped, at_most, attempt
from random_models import public_shape, random_quantizer, random_var, random_vqvae, var_shape
from torch import Tensor

from varc.device import check_precision
from varc.errors import InputError
from varc.models.arithmetic import Arithmetic
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VARConfig
from varc.models.vqvae import VQVAEConfig
from varc.scoring.likelihood import computing, score

CPU = torch.device("cpu")
CLOSE, CLOSE_BF16 = 1e-4, 1e-2  # of a case, absolute, and relative beyond 1; other kernels of the CPU: 4e-6 and 1e-3
NATS = 5e-3  # of a log-likelihood: float32 is off by some 1e-4, TensorFloat-32 by 1e-2
FEATURES = 2.0**-15  # relative: float32 is off by 1e-6 of float64, TensorFloat-32 by 1e-3
IDENTICAL = 0.95  # share of the images
SMALL = VQVAEConfig((1, 2, 3, 4), 32, (1, 2), 1, 8, 64, 8)


class Inputs(NamedTuple):
    """Random images as tokens (N, L), and candidates (N, M) of each."""

    tokens: NDArray[np.uint16]
    candidates: NDArray[np.int32]


def shapes(quick: bool) -> tuple[VQVAEConfig, VARConfig]:
    """The public d16, or a small one with as many parts."""
    return (SMALL, var_shape(SMALL, classes=1000, depth=2, width=64, heads=2)) if quick else public_shape("var_d16")


def random_inputs(config: VARConfig, images: int, classes: int) -> Inputs:
    """Random tokens, and of each image some classes, ascending."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, config.vocab_size, (images, config.num_tokens)).astype(np.uint16)
    chosen = [np.sort(random.choice(config.num_classes, classes, replace=False)) for _ in range(images)]
    return Inputs(tokens, np.array(chosen, np.int32))


def cases(setup: Setup) -> Iterator[Result]:
    """Every library function that takes a device, on tiny models: tests/device/cases.py."""
    from device.cases import CASES

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about tiny data
        for name, case in CASES.items():
            yield from attempt(f"case {name}", lambda name=name, case=case: [compare_case(name, case, setup.device)])


def compare_case(name: str, case: Callable[[torch.device], NDArray[Any]], device: torch.device) -> Result:
    """What a case gives on the device, against the CPU."""
    found, expected = case(device), case(CPU)
    return at_most(f"case {name}", difference(found, expected), CLOSE_BF16 if "bf16" in name else CLOSE)


def difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference, relative to what exceeds 1; infinite where only one of them is a number, or there."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape or not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        return np.inf
    known = np.isfinite(expected)
    return float(np.max(np.abs(found - expected)[known] / np.maximum(1, np.abs(expected[known])), initial=0.0))


def public_scores(setup: Setup) -> Iterator[Result]:
    """Log-likelihoods of whole images under a VAR of the public shape d16."""
    vqvae, config = shapes(setup.quick)
    var, quantizer, inputs = random_var(config), random_quantizer(vqvae), random_inputs(config, 2, 3)
    expected = score(var, quantizer, *inputs, device=CPU)
    found = score(var.to(setup.device), quantizer.to(setup.device), *inputs, device=setup.device)
    yield at_most(f"depth {config.depth}, {config.num_tokens} tokens", nats(found, expected), NATS, " nats")


def nats(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """The largest difference of log-likelihoods, from those per scale (N, M, k)."""
    return float(np.abs(found.sum(-1) - expected.sum(-1)).max())


def image_tokens(setup: Setup) -> Iterator[Result]:
    """Features and tokens of images, through the public VQ-VAE's shape."""
    from varc.planning import images_at_once
    from varc.scoring.smoothing import encode

    config = shapes(setup.quick)[0]
    vqvae = random_vqvae(config)
    images = random_images(64, config.image_size)
    batch = images_at_once(config.image_size)
    expected = encode(vqvae, images, batch, CPU)
    vqvae.quantize.embedding.weight.data *= expected.std()  # as a trained codebook has it
    reference = copy.deepcopy(vqvae.quantize)
    found = encode(vqvae.to(setup.device), images, batch, setup.device)
    yield at_most("features, relative", float((found - expected).norm() / expected.norm()), FEATURES)
    tokens = quantized(reference, expected, batch), quantized(vqvae.quantize, found, batch)
    yield from compare_tokens(reference, expected, *tokens)


def random_images(count: int, side: int) -> NDArray[np.uint8]:
    """Smooth pictures (N, side, side, 3)."""
    coarse = torch.rand(count, 3, max(2, side // 16), max(2, side // 16), generator=torch.Generator().manual_seed(0))
    images = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return (255 * images).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def quantized(quantizer: MultiScaleQuantizer, features: Tensor, batch: int) -> NDArray[np.uint16]:
    """Tokens (N, L) of features, on the quantiser's device."""
    from varc.scoring.smoothing import tokenize

    device, names = quantizer.embedding.weight.device, [""] * len(features)
    return tokenize(quantizer, features, names, sample=0, sigma=0.0, seed=0, batch_size=batch, device=device)


def compare_tokens(
    quantizer: MultiScaleQuantizer, features: Tensor, expected: NDArray[np.uint16], found: NDArray[np.uint16]
) -> Iterator[Result]:
    """Most images have the same tokens; the others first differ where two codes are about as near."""
    others = (expected != found).any(1).nonzero()[0]
    same = 1 - len(others) / len(expected)
    figure = f"{len(expected) - len(others)} of {len(expected)} images"
    yield Result("identical tokens", same >= IDENTICAL, figure, f"at least {IDENTICAL:.0%}")
    exact = copy.deepcopy(quantizer).double()
    ties = [tie(exact, features[i].double(), expected[i], found[i]) for i in others]
    yield at_most("other tokens: near ties, distance", max(ties, default=0.0), 1.0, " of what is allowed")


@torch.inference_mode()
def tie(exact: MultiScaleQuantizer, f: Tensor, expected: NDArray[np.uint16], found: NDArray[np.uint16]) -> float:
    """How much farther than the nearest code the codes of two token sequences (L,) are where they first differ, in
    units of what float32 explains; at most 1 is a tie.

    Later scales follow the first that differs, so they are not looked at. exact and f (C, p, p) are in float64. With z
    off by d, the squared distances of the codes a and b change by up to 2 d ||a - b|| towards each other; d is what
    the features may be off by. Computing a squared distance rounds by some 2^-20 of its terms.
    """
    scales = [exact.split_scales(torch.from_numpy(tokens.astype(np.int64))[None]) for tokens in (expected, found)]
    residual = f[None]
    for scale, (a, b) in enumerate(zip(*scales, strict=True)):
        where = (a != b)[0]
        if where.any():
            z = exact.downsample_residual(residual, scale).flatten(2)[0].T[where]
            return widest(z, exact.embedding.weight, a[0, where], b[0, where], FEATURES * rms(f))
        residual = residual - exact.contribution(a, scale)
    return 0.0


def rms(f: Tensor) -> float:
    """The root mean square of the norms of the feature vectors (C, p, p)."""
    return float(f.square().sum(0).mean().sqrt())


def widest(z: Tensor, codes: Tensor, a: Tensor, b: Tensor, off: float) -> float:
    """See tie; z (n, C), codes (V, C), a and b (n,)."""
    distances = torch.cdist(z, codes).square()  # (n, V)
    nearest = distances.argmin(1)
    ratios = [torch.zeros(())]
    for chosen in (a, b):
        behind = distances.gather(1, chosen[:, None])[:, 0] - distances.min(1).values
        apart = (codes[chosen] - codes[nearest]).norm(dim=1)
        rounding = 2.0**-20 * (z.square().sum(1) + codes[chosen].square().sum(1))
        ratios.append((behind / (2 * off * apart + rounding)).max())
    return float(torch.stack(ratios).max())


def bf16_predictions(setup: Setup) -> Iterator[Result]:
    """Predictions in bfloat16 against float32's, on the device."""
    try:
        check_precision("bf16", setup.device)
    except InputError as problem:
        raise Skipped(str(problem)) from None
    vqvae, config = shapes(setup.quick)
    var, quantizer = (model.to(setup.device) for model in (random_var(config), random_quantizer(vqvae)))
    var.class_emb.weight.data *= 4  # classes that differ clearly, though not as those of a trained model do
    inputs = random_inputs(config, 32, 10)
    models = [computing(var, Arithmetic(precision)) for precision in ("float32", "bf16")]
    scores = [score(model, quantizer, *inputs, device=setup.device).sum(-1) for model in models]
    yield compare_predictions(*scores, change_in_bf16(config.num_tokens))


def change_in_bf16(tokens: int) -> float:
    """What bfloat16 may change of the difference of two log-likelihoods, in nats.

    It rounds by 2^-9, and so changes by about as much the logits, whose spread is 1 on random weights. Over the tokens,
    under two classes, that adds up at random; four standard deviations are allowed.
    """
    return 4 * math.sqrt(2 * tokens) * 2.0**-9


def compare_predictions(exact: NDArray[np.float64], found: NDArray[np.float64], change: float) -> Result:
    """The best class stays the same wherever it leads by more than the change; at least half the images must tell."""
    best, margin = exact.argmax(1), np.diff(np.sort(exact, 1)[:, -2:], axis=1)[:, 0]
    clear = margin > change
    kept, told = int((found.argmax(1) == best)[clear].sum()), int(clear.sum())
    figure = f"{kept} of {told} that lead by {change:.2g} nats; scores change by {np.abs(found - exact).max():.2g}"
    ok = kept == told and told >= len(exact) / 2
    return Result("bf16 predictions", ok, figure, f"all of them, and at least {len(exact) // 2}")
