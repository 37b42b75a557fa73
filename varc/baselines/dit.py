"""The class-conditional diffusion transformer (Peebles and Xie 2023) of diffusers, and the draws that score with it.

A draw is a time and a noise, the same for all classes of an image: only then do their errors compare. The times of n
draws are spread evenly over the schedule in van der Corput's order, so that the first draws of any set are spread
evenly as well, and a later stage goes on where an earlier one ended. The first 511 are at no time below 1/1024, since
at time 0 every class errs alike.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DiTTransformer2DModel
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.baselines.family import Cost, Earlier
from varc.costs.counting import count
from varc.errors import InputError
from varc.keep import Keep, at_once
from varc.seeded import image_generator

ROWS = 256  # pairs of a class and a draw in a batch

Errors = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # latents, times, noise, labels of B rows -> errors (B,)


def dit(
    *, side: int, channels: int, out_channels: int, patch_size: int, width: int, depth: int, heads: int, classes: int
) -> DiTTransformer2DModel:
    """A transformer with adaLN-Zero: gates and the last layer start at 0."""
    model = DiTTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=width // heads,
        in_channels=channels,
        out_channels=out_channels,
        num_layers=depth,
        sample_size=side,
        patch_size=patch_size,
        num_embeds_ada_norm=classes,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
    )
    for layer in [*(block.norm1.linear for block in model.transformer_blocks), model.proj_out_2]:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model


def fraction(draw: int) -> float:
    """Van der Corput's sequence in base 2 without its 0: 1/2, 1/4, 3/4, 1/8, 5/8, 3/8, ... for draws 0, 1, ..."""
    digits = f"{draw + 1:b}"
    return int(digits[::-1], 2) / 2 ** len(digits)


def known_draws(scoring: Any, earlier: Any) -> int:
    """The draws of an earlier stage that count for this one: none where the stages measure different errors.

    Raises InputError for a stage that adds no draw.
    """
    same = earlier is not None and dataclasses.replace(earlier, draws=scoring.draws) == scoring
    known = earlier.draws if same else 0
    if scoring.draws <= known:
        raise InputError(f"draws: {scoring.draws}; a stage needs more than the {known} draws before it")
    return known


def draw_noise(image_id: str, draw: int, seed: int, shape: Sequence[int]) -> Tensor:
    """The standard normal noise of a draw, float32: drawn per (image_id, draw, seed)."""
    drawn = image_generator(seed, f"draw {draw}", image_id).standard_normal(tuple(shape), dtype=np.float32)
    return torch.from_numpy(drawn)


@torch.inference_mode()
def mean_errors(
    errors: Errors,
    latents: Tensor,
    image_ids: Sequence[str],
    candidates: NDArray[np.int32],
    scoring: Any,
    seed: int,
    earlier: Earlier | None,
    device: torch.device,
    keep: Keep = at_once,
) -> NDArray[np.float64]:
    """Minus the mean error (N, M) over scoring.draws, of images with latents (N, C, H, W) under their candidates.

    errors computes on the device, which gets the latents of an image at a time. The draws of an earlier stage are not
    drawn again: its scores are their mean. The new ones of an image are a piece for `keep`.
    """
    draws, known = scoring.draws, known_draws(scoring, earlier and earlier.scoring)
    result = np.empty(candidates.shape)
    times = torch.tensor([fraction(j) for j in range(known, draws)], device=device)

    def of_image(i: int) -> NDArray[np.float64]:
        noise = torch.stack([draw_noise(image_ids[i], j, seed, latents.shape[1:]) for j in range(known, draws)])
        labels = torch.from_numpy(candidates[i].astype(np.int64)).to(device)
        return sum_of_draws(errors, latents[i].to(device), times, noise.to(device), labels)

    for i in range(len(image_ids)):
        result[i] = -keep(functools.partial(of_image, i))
    if earlier and known:
        result += known * earlier.scores
    return result / draws


def sum_of_draws(errors: Errors, latent: Tensor, times: Tensor, noise: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """The sum over the draws (n,) of the errors of one image under each label (M,): float64 (M,)."""
    draw = torch.arange(len(times), device=times.device).repeat(len(labels))
    label = labels.repeat_interleave(len(times))
    found = [
        errors(latent.expand(len(d), *latent.shape), times[d], noise[d], y).double()
        for d, y in zip(draw.split(ROWS), label.split(ROWS), strict=True)
    ]
    return torch.cat(found).view(len(labels), len(times)).sum(1).cpu().numpy()


class Unconditioned(nn.Module):
    """Stands for an embedding of the time that is not counted."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, sample: Tensor, *others: Any) -> Tensor:
        return sample.new_zeros(len(sample), self.width)


def pass_cost(build: Callable[[int], tuple[DiTTransformer2DModel, nn.Module]], depth: int, side: int) -> Cost:
    """The cost of one pass, counted on the real module of one and of two blocks: the others add what the second did.

    build(depth) gives the transformer and the module that runs it on (latents, times, labels). The embedding of the
    time counts once, as in DiT and in its published figure, although diffusers repeats it in every block.
    """
    one, two = (counted(*build(n), side) for n in (1, 2))
    transformer, _ = build(1)
    embedder = transformer.transformer_blocks[0].norm1.emb.timestep_embedder
    sinusoids = torch.zeros(1, embedder.linear_1.in_features)
    gflops, attention = (a + (depth - 1) * (b - a) for a, b in zip(one, two, strict=True))
    return Cost(1, gflops + count(embedder, sinusoids).gflops, attention)


def counted(transformer: DiTTransformer2DModel, module: nn.Module, side: int) -> tuple[float, float]:
    """GFLOPs and attention's of a pass without embeddings of the time; in bfloat16, which changes no count."""
    module = module.eval().bfloat16()
    for part in module.modules():
        if hasattr(part, "timestep_embedder"):
            part.timestep_embedder = Unconditioned(transformer.inner_dim)
    channels = transformer.config.in_channels - getattr(module, "extra_channels", 0)
    latents = torch.zeros(1, channels, side, side, dtype=torch.bfloat16)
    with torch.no_grad():
        return count(module, latents, torch.zeros(1), torch.zeros(1, dtype=torch.int64))
