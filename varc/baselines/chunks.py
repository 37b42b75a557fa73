"""The first order of an adaptive stage, chunk by chunk: see varc.scoring.stepwise."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varc.baselines.any_order import AnyOrder, AnyOrderConfig, Past, PositionTables, pair_log_prob
from varc.scoring.batching import FLOAT, most_pairs, pairs_of_width

COPIES = 32  # of a position's activations, of width C, that exist at a time in a pass


class Batch(NamedTuple):
    """Some images, on the device: tokens (n, L) in the order of orders (n, L), and their candidates (n, M)."""

    tokens: Tensor
    orders: Tensor
    labels: Tensor


class Chunks(NamedTuple):
    """The chunks of an order as steps, with keys and values of those before; a varc.scoring.stepwise.Stepwise."""

    model: AnyOrder
    tables: PositionTables
    tokens: NDArray[np.int64]  # (N, L), in the order of `orders`
    orders: NDArray[np.int64]  # (N, L)
    candidates: NDArray[np.int32]  # (N, M)
    chunk: int

    @property
    def device(self) -> torch.device:
        return self.tables.turns.device

    @property
    def num_steps(self) -> int:
        return len(chunk_ends(self.tokens.shape[1], self.chunk))

    def begin(self, first: int, end: int) -> tuple[Batch, list[Tensor]]:
        own = (part[first:end].astype(np.int64) for part in (self.tokens, self.orders, self.candidates))
        batch, config = Batch(*(torch.from_numpy(part).to(self.device) for part in own)), self.model.config
        of_block = 2, batch.labels.numel(), config.heads, 0, config.width // config.heads
        return batch, [self.tables.embeddings.new_empty(of_block)] * config.depth

    def go_on(self, batch: Batch, image: Tensor, candidate: Tensor, step: int, past: list[Tensor]) -> Tensor:
        pairs = image, batch.labels[image, candidate]
        span = self.span(step)
        return pair_log_prob(self.model, self.tables, batch.tokens, batch.orders, *pairs, span, Past(past))

    def anew(self, batch: Batch, image: Tensor, candidate: Tensor, step: int) -> Tensor:
        pairs = image, batch.labels[image, candidate]
        first, end = self.span(step)
        return pair_log_prob(self.model, self.tables, batch.tokens, batch.orders, *pairs, (0, end))[:, first:]

    def span(self, step: int) -> tuple[int, int]:
        """First token of a chunk, and its end."""
        return step * self.chunk, chunk_ends(self.tokens.shape[1], self.chunk)[step]

    def pairs_with_past(self, step: int, memory: int) -> int:
        config, (first, end) = self.model.config, self.span(step)
        past, own = 2 * config.depth * 2 * end, COPIES * 2 * (end - first)
        return min(memory // (FLOAT * config.width * (past + own)), most_pairs(2 * (end - first)))

    def pairs_anew(self, step: int, memory: int) -> int:
        return pairs_per_batch(self.model.config, self.span(step)[1], self.device, memory)


def chunk_ends(tokens: int, chunk: int) -> list[int]:
    """How many tokens of an order are scored after each of its chunks; the last one may be shorter."""
    return [*range(chunk, tokens, chunk), tokens]


def pairs_per_batch(config: AnyOrderConfig, tokens: int, device: torch.device, free: int | None = None) -> int:
    """How many pairs of so many tokens a batch should hold: as of a VAR, see varc.scoring.batching."""
    length = 2 * tokens
    return pairs_of_width(config.width, length, FLOAT * COPIES * length * config.width, device, free)
