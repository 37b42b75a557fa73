"""The order-marginalised autoregressive classifier (Sudakov et al. 2026, arXiv 2603.19122): log p(tokens | class) by an
any-order model (RandAR), combined over several random orders. One order in raster sequence is the plain AR classifier.

A stage's orders are scored one by one, each into files of its own: see varc.baselines.family.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from varc.baselines.any_order import (
    AnyOrder,
    AnyOrderConfig,
    attention_gflops,
    pair_log_prob,
    pass_gflops,
    position_tables,
)
from varc.baselines.chunks import Chunks, chunk_ends, pairs_per_batch
from varc.baselines.family import Cost, Earlier, Images, device_of
from varc.baselines.randar_training import train_tokeniser, train_transformer
from varc.baselines.settings.randar import Adaptive, Sample, Scoring, Shape, Training, full, grid_tokens, samples
from varc.baselines.vq import VQ, VQConfig, features_gflops
from varc.costs.counting import Cost as PassCost
from varc.costs.counting import ModelCosts
from varc.data.tensors import to_input
from varc.errors import InputError
from varc.keep import Keep, at_once
from varc.models.states import read_state
from varc.models.weights import assign_weights
from varc.scoring.adaptive import AdaptiveScores
from varc.scoring.batching import in_batches
from varc.scoring.combining import combined
from varc.scoring.stepwise import Limits, adaptive_funnel, free_now, over_chosen
from varc.seeded import image_generator

__all__ = [
    "Adaptive",
    "Sample",
    "Scoring",
    "Shape",
    "Training",
    "build",
    "cost",
    "load_public",
    "score",
    "score_adaptive",
    "score_sample",
    "step_costs",
    "step_tokens",
    "train",
]

ENCODER_BATCH = 16
UNUSED = "quantize.codebook_used"  # a buffer of the public tokeniser that files may lack


class RandAR(nn.Module):
    """A tokeniser and the transformer of its tokens."""

    def __init__(self, vq: VQ, gpt: AnyOrder):
        super().__init__()
        self.vq, self.gpt = vq, gpt


def vq_config(shape: Shape) -> VQConfig:
    return VQConfig(shape.ch, shape.ch_mult, shape.z_channels, shape.vocab_size)


def gpt_config(shape: Shape, classes: int) -> AnyOrderConfig:
    side = shape.image_size // vq_config(shape).downsampling
    return AnyOrderConfig(shape.depth, shape.width, shape.heads, shape.vocab_size, classes, side)


def build(shape: Shape, classes: int) -> RandAR:
    """A model of random weights."""
    return RandAR(VQ(vq_config(shape)), AnyOrder(gpt_config(shape, classes)))


def load_public(path: Mapping[str, str], shape: Shape, classes: int) -> RandAR:
    """Public weights: `vq`, as LlamaGen's vq_ds16_c2i.pt, and `gpt`, as RandAR's. .pth, .pt (tensors alone) or
    .safetensors, the state dict bare or under `model`.

    Raises InputError as read_state does, and for keys that are missing, unexpected or of another shape, or not finite.
    """
    with torch.device("meta"):
        model = build(shape, classes)
    vq, gpt = (dict(read_state(path[part])) for part in ("vq", "gpt"))
    vq.setdefault(UNUSED, torch.zeros(model.vq.quantize.codebook_used.shape))
    return RandAR(assign_weights(model.vq, path["vq"], vq), assign_weights(model.gpt, path["gpt"], gpt))


def train(
    model: RandAR,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: Training,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """The tokeniser, then the transformer on its tokens, in orders drawn per image and step."""
    device, generator = device_of(model), torch.Generator().manual_seed(seed)
    how: dict[str, Any] = {"generator": generator, "device": device, "report": report}
    sizes: dict[str, Any] = {"steps": training.vq_steps, "batch_size": training.vq_batch_size, "lr": training.vq_lr}
    train_tokeniser(model.vq, images, **sizes, **how)
    sizes = {"steps": training.steps, "batch_size": training.batch_size, "lr": training.lr}
    train_transformer(model.gpt, tokens_of(model, images), labels, **sizes, **how)


def draw_order(image_id: str, order: int | None, seed: int, tokens: int) -> NDArray[np.int64]:
    """An order (tokens,) of all positions: drawn per (image_id, order, seed); None: raster."""
    if order is None:
        return np.arange(tokens)
    return image_generator(seed, f"order {order}", image_id).permutation(tokens)


@torch.inference_mode()
def tokens_of(model: RandAR, pixels: NDArray[np.uint8], keep: Keep = at_once) -> NDArray[np.int64]:
    """The tokens (N, L) of images (N, H, W, 3), in raster order."""
    device = device_of(model)

    def encoded(first: int) -> NDArray[np.int64]:
        return model.vq.tokens(to_input(pixels[first : first + ENCODER_BATCH]).to(device)).cpu().numpy()

    parts = [keep(functools.partial(encoded, i)) for i in range(0, len(pixels), ENCODER_BATCH)]
    return np.concatenate([np.empty((0, model.gpt.config.num_tokens), np.int64), *parts])


def score(
    model: RandAR, images: Images, candidates: NDArray[np.int32], scoring: Scoring, earlier: Earlier | None
) -> NDArray[np.float64]:
    """Scores (N, M) of the candidates: log p of the tokens, in nats, combined over the orders.

    Where both stages take the mean, the orders of an earlier one are not scored again.
    """
    wanted, before = samples(scoring), samples(earlier.scoring) if earlier else {}
    means = earlier and scoring.combine == earlier.scoring.combine == "mean" and before.keys() < wanted.keys()
    known = [earlier.scores] * len(before) if earlier and means else []
    tokens = tokens_of(model, images.pixels, images.keep)
    new = list(wanted.values())[len(known) :]
    found = [log_likelihood(model, tokens, images, candidates, sample).sum(2) for sample in new]
    return combined([*known, *found], scoring.combine)


def score_sample(model: RandAR, images: Images, candidates: NDArray[np.int32], sample: Sample) -> NDArray[np.float64]:
    """log p (N, M, K) of the tokens under each candidate, in nats, in one order, by its K chunks."""
    return log_likelihood(model, tokens_of(model, images.pixels, images.keep), images, candidates, sample)


@torch.inference_mode()
def score_adaptive(
    model: RandAR, images: Images, candidates: NDArray[np.int32], thresholds: NDArray[np.float64], adaptive: Adaptive
) -> AdaptiveScores:
    """Scores images with as much work as each needs: the steps are the chunks of the first order, the samples are
    orders. thresholds (K,): after how many nats behind the best a candidate is dropped, after each chunk."""
    first, *others = samples(full(adaptive)).values()
    tokens = tokens_of(model, images.pixels, images.keep)
    orders = draw_orders(images, first, tokens.shape[1])

    def more(number: int, which: NDArray[np.intp], left: NDArray[np.bool_]) -> NDArray[np.float64]:
        def of_order(chosen: NDArray[np.bool_], own: NDArray[np.int32]) -> NDArray[np.float64]:
            rows = which[chosen]
            some = images._replace(pixels=images.pixels[rows], image_ids=images.image_ids[rows])
            return log_likelihood(model, tokens[rows], some, own, others[number - 1])

        return over_chosen(candidates[which], left, of_order, 1)[..., 0]

    in_order = np.take_along_axis(tokens, orders, 1)
    chunks = Chunks(model.gpt, position_tables(model.gpt), in_order, orders, candidates, adaptive.chunk)
    limits = Limits(thresholds, np.ones(chunks.num_steps))
    free = free_now(chunks.device, images.keep)
    return adaptive_funnel(chunks, limits, adaptive.orders, more, free=free, keep=images.keep)


def draw_orders(images: Images, sample: Sample, tokens: int) -> NDArray[np.int64]:
    """The first tokens (N, n) of the order of each image that a sample scores; tokens: of an image."""
    drawn = [draw_order(str(i), sample.order, images.seed, tokens)[: sample.tokens] for i in images.image_ids]
    return np.stack(drawn) if drawn else np.empty((0, sample.tokens or tokens), np.int64)


def log_likelihood(
    model: RandAR, tokens: NDArray[np.int64], images: Images, candidates: NDArray[np.int32], sample: Sample
) -> NDArray[np.float64]:
    """log p (N, M, K) of the K chunks of tokens (N, L), given in raster order, under each candidate."""
    orders = draw_orders(images, sample, tokens.shape[1])
    in_order, length = np.take_along_axis(tokens, orders, 1), orders.shape[1]
    gpt, device, classes = model.gpt, device_of(model), candidates.shape[1]
    with torch.inference_mode():
        tables = position_tables(gpt)

    @torch.inference_mode()
    def run(first: int, end: int) -> NDArray[np.float64]:
        before = first // classes
        some = slice(before, (end - 1) // classes + 1)  # the images that take part
        image = torch.arange(first, end, device=device) // classes - before  # (B,), of each pair, among these
        own, order = (torch.from_numpy(part[some]).to(device) for part in (in_order, orders))
        labels = torch.from_numpy(candidates.ravel()[first:end].astype(np.int64)).to(device)
        log_prob = pair_log_prob(gpt, tables, own, order, image, labels, (0, length)).double()
        return torch.stack([chunk.sum(1) for chunk in log_prob.split(sample.chunk or length, 1)], 1).cpu().numpy()

    chunks = len(chunk_ends(length, sample.chunk or length))
    result = np.empty((candidates.size, chunks))
    size = pairs_per_batch(gpt.config, length, device)
    for first, found in in_batches(candidates.size, size, run, images.keep):
        result[first : first + len(found)] = found
    return result.reshape(*candidates.shape, chunks)


def cost(shape: Shape, classes: int, scoring: Scoring, candidates: int, earlier: Scoring | None) -> Cost:
    """A pass per candidate and order that is new, as the public code computes it; the tokeniser counts in the first
    stage. 20 orders of RandAR-L on 100 classes: 333,580 GFLOPs.

    Raises InputError for a stage that adds no order.
    """
    config = gpt_config(shape, classes)
    wanted, before = samples(scoring), samples(earlier) if earlier else {}
    if not (new := wanted.keys() - before.keys()):
        raise InputError(f"orders: {scoring.orders}; a stage needs more orders than the one before, or other tokens")
    passes, tokens = candidates * len(new), scoring.tokens or config.num_tokens
    encoder = 0.0 if earlier else features_gflops(vq_config(shape), shape.image_size)
    gflops = passes * pass_gflops(config, tokens) + encoder
    return Cost(passes, gflops, passes * attention_gflops(config, tokens))


def step_tokens(shape: Shape, adaptive: Adaptive) -> list[int]:
    """How many tokens of an order are scored after 1, 2, ... of its chunks."""
    return chunk_ends(grid_tokens(shape), adaptive.chunk)


def step_costs(shape: Shape, classes: int, adaptive: Adaptive) -> ModelCosts:
    """What an adaptive stage's costs are made of: the tokeniser, and a pass over 1, 2, ... chunks of an order."""
    config, ends = gpt_config(shape, classes), step_tokens(shape, adaptive)
    passes = {k: PassCost(pass_gflops(config, n), attention_gflops(config, n)) for k, n in enumerate(ends, 1)}
    return ModelCosts(PassCost(features_gflops(vq_config(shape), shape.image_size), 0.0), passes)
