"""The adaptive funnel's engine, whatever the model: candidates are scored step by step, and only those that are left.

Keys and values of the survivors are kept, so a step costs only its own tokens, and pairs are packed anew after each
step, so batches stay dense. Where memory does not hold the keys and values of a batch, its last images come again in
the next one; where it does not hold those of one image, they are computed anew at each step for its last candidates.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.device import free_memory
from varc.keep import Keep, at_once
from varc.scoring.adaptive import AdaptiveScores, survivors, with_samples
from varc.scoring.batching import GPU_SHARE, MOST_PAIRS, in_batches, unless_out_of_memory

CPU_BYTES = 2**30  # keys and values of the images that start together on the CPU, as far as can be foreseen
CPU_MOST_BYTES = 2**32  # what they may come to there

logger = logging.getLogger(__name__)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Scored = tuple[Floats, NDArray[np.int32], Bools]  # per_step, steps, who is alive at the end


class Stepwise(Protocol):
    """A model, with N images and their candidates, P pairs of which it scores in K steps."""

    @property
    def device(self) -> torch.device: ...

    @property
    def candidates(self) -> NDArray[np.int32]:
        """(N, M)"""
        ...

    @property
    def num_steps(self) -> int: ...

    def begin(self, first: int, end: int) -> tuple[Any, list[Tensor]]:
        """A batch of images, and of each block the keys and values (2, P, H, 0, D) of all its pairs."""
        ...

    def go_on(self, batch: Any, image: Tensor, candidate: Tensor, step: int, past: list[Tensor]) -> Tensor:
        """log p (P, n) of a step's tokens, in nats, of the pairs of images and candidates (P,) by their positions in
        the batch. past: keys and values (2, P, H, l, D) of the steps before, to which those of this one are added."""
        ...

    def anew(self, batch: Any, image: Tensor, candidate: Tensor, step: int) -> Tensor:
        """The same without keys and values of the steps before."""
        ...

    def pairs_with_past(self, step: int, memory: int) -> int:
        """How many pairs go_on may take with all their keys and values in so many bytes; 0 is possible."""
        ...

    def pairs_anew(self, step: int, memory: int) -> int:
        """How many pairs anew should take at a time; memory: bytes that are free on a GPU."""
        ...


class Limits(NamedTuple):
    """How far a candidate's weighted sum may be behind the best after each step, in nats, and the weights: (K,)."""

    thresholds: Floats
    weights: Floats


def adaptive_funnel(
    model: Stepwise,
    limits: Limits,
    samples: int,
    score: Callable[[int, NDArray[np.intp], Bools], Floats],
    *,
    free: int,
    images_per_batch: int | None = None,
    keep: Keep = at_once,
) -> AdaptiveScores:
    """Scores images with as much work as each needs. samples, score: see varc.scoring.adaptive.with_samples.

    free: bytes that are free on a GPU. Results do not depend on it, nor on images_per_batch (None: chosen by the memory
    that keys and values take), but for float rounding. Pieces for `keep` are the batches.
    """
    start, memory = budget(model.device, free)
    images, candidates = model.candidates.shape
    size = images_per_batch or images_at_once(model, candidates, start)
    parts: list[Scored] = []
    done = 0
    while done < images:
        run = functools.partial(step_by_step, model, done, min(done + size, images), limits)
        per_step, steps, alive, left = keep(functools.partial(within_memory, run, model, memory))
        parts.append((per_step, steps, alive))
        memory, size = int(left), len(alive)
        done += size
    per_step, steps, alive = (np.concatenate(found) for found in zip(*parts, strict=True))
    return with_samples(per_step, steps, alive, samples, score, limits.weights)


def free_now(device: torch.device, keep: Keep = at_once) -> int:
    """Bytes that are free on a GPU, 0 elsewhere: the first piece of a job, whose batches depend on it."""
    return int(keep(lambda: np.array(free_memory(device) if device.type == "cuda" else 0)))


def budget(device: torch.device, free: int) -> tuple[int, int]:
    """Bytes of keys and values that images should start with together, and that a batch may come to.

    free: bytes that are free on a GPU.
    """
    if device.type != "cuda":
        return CPU_BYTES, CPU_MOST_BYTES
    most = int(GPU_SHARE * free)
    return most, most


def images_at_once(model: Stepwise, candidates: int, memory: int) -> int:
    """How many images start together: as many as fit at the last step where a fifth of their candidates are left."""
    left = max(1.0, candidates / 5)
    fitting = int(model.pairs_with_past(model.num_steps - 1, memory) / left)
    return max(1, min(fitting, MOST_PAIRS // candidates))


def within_memory(run: Callable[[int], Scored], model: Stepwise, memory: int) -> tuple[NDArray[Any], ...]:
    """What run(memory) returns, and the memory: so much as given, or less, halved where it does not suffice."""
    while True:
        found = unless_out_of_memory(functools.partial(run, memory), last=model.pairs_with_past(0, memory) == 0)
        if found is not None:
            return *found, np.array(memory)
        memory //= 2
        logger.warning("out of memory: %d MiB for keys and values from here on", memory >> 20)


def step_by_step(model: Stepwise, first: int, end: int, limits: Limits, memory: int) -> Scored:
    """One batch, images from `first` to `end`. Returns per_step, steps and who is alive at the end.

    These are of the first images, 1 at least: of as many as have their survivors' keys and values in `memory` bytes at
    every step. Of one image alone the first survivors have theirs there, and the others none.
    """
    batch, past = model.begin(first, end)
    left = alive = np.ones((end - first, model.candidates.shape[1]), bool)
    per_step = np.zeros((*alive.shape, model.num_steps))
    steps = np.zeros(alive.shape, np.int32)
    for k in range(model.num_steps):
        room = model.pairs_with_past(k, memory)
        done = whole_images(left, room)
        keep_survivors(past, left[alive], min(room, int(left[:done].sum())))
        alive, per_step, steps = left[:done], per_step[:done], steps[:done]
        per_step[..., k][alive] = step_sums(model, batch, alive, k, past, memory)
        steps[alive] = k + 1
        left = survivors((per_step * limits.weights).sum(axis=2), alive, limits.thresholds[k])
    return per_step, steps, left


def whole_images(alive: Bools, pairs: int) -> int:
    """How many of the first images, 1 at least, have no more candidates alive (N, M) in all than so many pairs."""
    return max(1, int(np.searchsorted(alive.sum(1).cumsum(), pairs, side="right")))


def keep_survivors(past: list[Tensor], left: Bools, most: int) -> None:
    """Takes out of `past`, block by block, the keys and values of all pairs but those `left` (P,), the first `most`."""
    kept = left[: past[0].shape[1]]
    kept = kept & (kept.cumsum() <= most)
    if not kept.all():
        positions = torch.from_numpy(kept.nonzero()[0]).to(past[0].device)
        for b in range(len(past)):
            past[b] = past[b][:, positions]


def step_sums(model: Stepwise, batch: Any, alive: Bools, step: int, past: list[Tensor], memory: int) -> Floats:
    """log p of a step's tokens (P,), in nats, of the pairs of images and candidates that are alive (N, M).

    past: keys and values of the first pairs, to which those of this step are added. The other pairs start anew, in as
    much memory as `past` may take.
    """
    image, candidate = (torch.from_numpy(index).to(model.device) for index in alive.nonzero())
    held, pairs, parts = past[0].shape[1], len(image), []
    if held:
        parts.append(model.go_on(batch, image[:held], candidate[:held], step, past))
    if held < pairs:

        def run(start: int, stop: int) -> Tensor:
            return model.anew(batch, image[held + start : held + stop], candidate[held + start : held + stop], step)

        parts += [found for _, found in in_batches(pairs - held, model.pairs_anew(step, memory), run)]
    return torch.cat(parts).double().sum(1).cpu().numpy()


def over_chosen(
    candidates: NDArray[Any], chosen: Bools, score: Callable[[Bools, NDArray[Any]], NDArray[Any]], steps: int
) -> Floats:
    """Log-likelihoods (N, M, steps) of the chosen ones of each image's candidates, (N, M); 0 for the others.

    score(which, own): of the images `which` (N,) under candidates of their own (n, m): images with as many each make
    one dense call.
    """
    result = np.zeros((*candidates.shape, steps))
    for count in np.unique(chosen.sum(1)[chosen.any(1)]):
        which = chosen.sum(1) == count
        own = candidates[which][chosen[which]].reshape(-1, count)
        result[chosen & which[:, None]] = score(which, own).reshape(-1, steps)
    return result
