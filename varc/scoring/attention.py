"""The exact forms of two steps of the engines, of which the fastest depends on the processor and the shapes.

Shapes: B pairs, H heads, l positions that attend, L positions that are there, D numbers of a head, V codebook entries.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

HEAD_ROWS = 1024  # positions whose logits exist at a time


def attend(q: Tensor, kv: Tensor, spans: Sequence[tuple[int, int]], form: str) -> Tensor:
    """softmax(q k^T) v (B, l, H, D) for queries q (B, H, l, D) and kv (2, B, H, L, D), whose last l are theirs.

    spans: first and end of each scale among the queries; a scale sees everything up to its own end. form: see
    varc.models.arithmetic.Forms.
    """
    B, H, length, D = q.shape
    before = kv.shape[3] - length
    if form == "masked" and len(spans) > 1:
        mask = hidden_later(spans, before, q)
        return F.scaled_dot_product_attention(q, kv[0], kv[1], mask, scale=1.0).transpose(1, 2)
    out = q.new_empty(B, length, H, D)
    for first, end in spans:
        keys, values = kv[:, :, :, : before + end]  # each (B, H, before + end, D)
        of_scale = (products if form == "products" else fused)(q[:, :, first:end], keys, values)
        out[:, first:end] = of_scale.transpose(1, 2)  # (B, end - first, H, D)
    return out


def fused(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(q k^T) v (B, H, l, D) over all keys and values (B, H, L, D), by torch's kernel."""
    return F.scaled_dot_product_attention(q, keys, values, scale=1.0)


def products(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What `fused` gives, by two products."""
    return (q @ keys.transpose(-1, -2)).softmax(-1) @ values


def hidden_later(spans: Sequence[tuple[int, int]], before: int, like: Tensor) -> Tensor:
    """What is added to the logits (l, L), 0 or -inf, such that no scale sees what is after its end."""
    ends = torch.tensor([before + end for first, end in spans for _ in range(first, end)])
    later = torch.arange(before + spans[-1][1]) >= ends[:, None]
    return torch.zeros(later.shape).masked_fill(later, -torch.inf).to(like)


def log_prob_in_pieces(
    logits_of: Callable[[Tensor], Tensor], hidden: Tensor, tokens: Tensor, form: str = "logsumexp"
) -> Tensor:
    """log p (B, l), float32, of tokens (B, l) from what the head sees (B, l, C), so that the logits (n, V) of HEAD_ROWS
    positions at most exist at a time. logits_of: what the head makes of (n, C); form: as of log_prob."""
    pieces = zip(hidden.flatten(0, 1).split(HEAD_ROWS), tokens.flatten().split(HEAD_ROWS), strict=True)
    return torch.cat([log_prob(logits_of(rows), target, form) for rows, target in pieces]).view(tokens.shape)


def log_prob(logits: Tensor, target: Tensor, form: str) -> Tensor:
    """log p (n,) of the targets (n,) under logits (n, V). form: see varc.models.arithmetic.Forms."""
    if form == "log_softmax":
        return logits.log_softmax(1).gather(1, target[:, None])[:, 0]
    return logits.gather(1, target[:, None])[:, 0] - logits.logsumexp(1)
