"""The speed of a device at encoding, tokenising, scoring and fine-tuning, on random weights.

The same functions run as in a job, on a model of the same shape; of its blocks only the first few, so that a model of
2 billion weights is measured in seconds, and fits anywhere.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from varc.costs.closed_form import encoder_gflops, pass_gflops, quantizer_gflops
from varc.models.scales import tokens_at
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.planning import Kind, Speed, image_passes, images_at_once
from varc.rates.speed import MOST_DEPTH, busy_neighbours, speed
from varc.scoring.batching import pairs_per_batch
from varc.scoring.forms import computing_on
from varc.scoring.likelihood import score
from varc.scoring.smoothing import encode, tokenize
from varc.training.finetune import finetune


def measure(
    kind: Kind,
    vqvae: VQVAEConfig,
    var: VARConfig,
    candidates: int,
    device: torch.device,
    forms: Path | None = None,
) -> Speed:
    """The speed at one kind of work, with the process's number of threads; of a CPU while its other cores are busy.

    forms: where jobs keep which forms are the fastest (varc.scoring.forms); None: without a choice.
    """
    with busy_neighbours(device):
        return measure_beside(kind, vqvae, var, candidates, device, forms)


def measure_beside(
    kind: Kind, vqvae: VQVAEConfig, var: VARConfig, candidates: int, device: torch.device, forms: Path | None
) -> Speed:
    """The speed at one kind of work, beside whatever else the machine does; see measure."""
    torch.manual_seed(0)
    model = VQVAE(vqvae).eval().requires_grad_(False)
    if kind.rule == "encode":
        return speed(encoder_gflops(vqvae), lambda n: encode_random(model.to(device), n, device), device)
    if kind.rule == "tokenize":
        return speed(quantizer_gflops(vqvae), lambda n: tokenize_random(model.to(device), n, device), device)
    if kind.rule == "finetune":
        return measure_finetune(kind, model, var, candidates, device)
    return measure_score(kind, model, var, candidates, device, forms)


def encode_random(vqvae: VQVAE, images: int, device: torch.device) -> None:
    """Encodes so many random images, in batches as a job's."""
    side = vqvae.config.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (images, side, side, 3), np.uint8)
    encode(vqvae, pixels, images_at_once(side), device)


def tokenize_random(vqvae: VQVAE, images: int, device: torch.device) -> None:
    """Tokenises a noisy sample of so many random features."""
    config, names = vqvae.config, [str(i) for i in range(images)]
    features = torch.zeros(images, config.z_channels, config.patch_nums[-1], config.patch_nums[-1])
    batch_size = images_at_once(config.image_size)
    tokenize(vqvae.quantize, features, names, sample=1, sigma=1.0, seed=0, batch_size=batch_size, device=device)


def measure_score(
    kind: Kind, vqvae: VQVAE, config: VARConfig, candidates: int, device: torch.device, forms: Path | None
) -> Speed:
    """The speed of scoring images under so many candidates, or a batch of them where that is less; see measure."""
    config = dataclasses.replace(config, depth=min(config.depth, MOST_DEPTH), num_classes=candidates)
    var = computing_on(device, VAR(config).eval().requires_grad_(False), kind.precision, kind.scales, forms)
    length = tokens_at(config.patch_nums, kind.scales)
    candidates = min(candidates, pairs_per_batch(var, length, device))
    random = np.random.default_rng(0)

    def score_random(images: int) -> None:
        tokens = random.integers(0, config.vocab_size, (images, length)).astype(np.uint16)
        classes = np.tile(np.arange(candidates, dtype=np.int32), (images, 1))
        score(var, vqvae.quantize.to(device), tokens, classes, device=device)

    return speed(candidates * pass_gflops(config, kind.scales), score_random, device)


def measure_finetune(kind: Kind, vqvae: VQVAE, config: VARConfig, sequences: int, device: torch.device) -> Speed:
    """The speed of fine-tuning by CCA in micro-batches of so many sequences, or of fewer where these are too many.

    Every step is one micro-batch of images that the reference has not seen.
    """
    config = dataclasses.replace(config, depth=min(config.depth, MOST_DEPTH), num_classes=1000)
    var = VAR(config)
    most = pairs_per_batch(var, config.num_tokens, device)
    if device.type == "cuda":
        most //= MOST_DEPTH  # the batches of score hold one block's activations; these hold them all
    images = max(1, min(sequences, most) // 2)
    settings: dict[str, Any] = {"beta": 0.02, "lambda": 50.0, "lr": 1e-6, "batch_size": images, "accumulate": 1}
    random = np.random.default_rng(0)

    def finetune_random(steps: int) -> None:
        tokens = random.integers(0, config.vocab_size, (1, steps * images, config.num_tokens)).astype(np.uint16)
        labels = random.integers(0, 1000, steps * images)
        chosen = settings | {"steps": steps, "precision": kind.precision}
        quantizer = vqvae.quantize.to(device)
        finetune(var, quantizer, tokens, labels, chosen, seed=0, device=device, report=lambda line: None)

    return speed(images * image_passes(2, reference=True) * pass_gflops(config, kind.scales), finetune_random, device)
