"""RandAR (Pang et al. 2024, arXiv 2412.01827): a causal transformer that learns the tokens of an image in any order;
and the engine that scores classes with it. State dicts are named as the public ones.

The sequence is [class, pos(o_1), tok(o_1), pos(o_2), tok(o_2), ...] for an order o of the grid's positions; the logits
of the i-th token are read at pos(o_i). Shapes: B pairs of an image and a class, I images, n tokens of an order, S
positions of the sequence, C width, H heads, D = C / H, V codes, G positions of the grid.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right

from varc.scoring.attention import log_prob_in_pieces

THETA = 10000.0  # of the rotary embedding
HIDDEN_MULTIPLE = 256  # the MLP's inner width is a multiple of it
AT_CLASS = (0, 0, 0, 0, 1, 0)  # pads turns for the class token, with cos and sin both 0
QUERIES = 64  # that attend at a time on the CPU, where others came before


@dataclass(frozen=True)
class AnyOrderConfig:
    """The shape of a transformer. side: of the grid of tokens."""

    depth: int
    width: int
    heads: int
    vocab_size: int
    num_classes: int
    side: int

    @property
    def hidden(self) -> int:
        """Inner width of the MLP: two thirds of 4 C, rounded up."""
        return -(-int(2 / 3 * 4 * self.width) // HIDDEN_MULTIPLE) * HIDDEN_MULTIPLE

    @property
    def num_tokens(self) -> int:
        """Tokens of an image."""
        return self.side**2


class Attention(nn.Module):
    """The weights of a block's attention."""

    def __init__(self, config: AnyOrderConfig):
        super().__init__()
        self.heads = config.heads
        self.wqkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.wo = nn.Linear(config.width, config.width, bias=False)

    def qkv(self, h: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, H, S, D), of h (B, S, C) at positions with turns (B, S, D / 2, 2)."""
        qkv = self.wqkv(h).unflatten(-1, (3, self.heads, -1))  # (B, S, 3, H, D)
        q, k = turned(qkv[:, :, :2], turns[:, :, None, None]).permute(2, 0, 3, 1, 4)
        return q, k, qkv[:, :, 2].transpose(1, 2)


class FeedForward(nn.Module):
    """The gated MLP of a block."""

    def __init__(self, config: AnyOrderConfig):
        super().__init__()
        self.w1, self.w3 = (nn.Linear(config.width, config.hidden, bias=False) for _ in range(2))
        self.w2 = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(h)) * self.w3(h))


class Block(nn.Module):
    """Attention, then the MLP, each of a normalised residual stream."""

    def __init__(self, config: AnyOrderConfig):
        super().__init__()
        self.attention, self.feed_forward = Attention(config), FeedForward(config)
        self.attention_norm, self.ffn_norm = (nn.RMSNorm(config.width, eps=1e-5) for _ in range(2))

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        q, k, v = self.attention.qkv(self.attention_norm(x), turns)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention.wo(h.transpose(1, 2).flatten(2))
        return x + self.feed_forward(self.ffn_norm(x))


class ClassEmbedding(nn.Module):
    """A row per class, and one for no class."""

    def __init__(self, config: AnyOrderConfig):
        super().__init__()
        self.embedding_table = nn.Embedding(config.num_classes + 1, config.width)


class AnyOrder(nn.Module):
    """The transformer."""

    def __init__(self, config: AnyOrderConfig):
        super().__init__()
        self.config = config
        self.pos_instruct_embeddings = nn.Parameter(torch.empty(1, config.width))
        self.cls_embedding = ClassEmbedding(config)
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.output = nn.Linear(config.width, config.vocab_size, bias=False)
        tables = (self.cls_embedding.embedding_table.weight, self.tok_embeddings.weight)
        for embedding in (self.pos_instruct_embeddings, *tables):
            nn.init.normal_(embedding, std=config.width**-0.5)

    def blocks(self) -> list[Block]:
        """The layers, by their type."""
        return list(self.layers)  # type: ignore[arg-type]

    def hidden(self, tokens: Tensor, orders: Tensor, labels: Tensor) -> Tensor:
        """What the head sees (B, 1 + 2 n, C); see forward."""
        tables = position_tables(self)
        x = torch.cat([self.cls_embedding.embedding_table(labels)[:, None], embed(self, tables, tokens, orders)], 1)
        turns = F.pad(tables.turns[orders].repeat_interleave(2, 1), AT_CLASS)
        for block in self.blocks():
            x = block(x, turns)
        return self.norm(x)

    def forward(self, tokens: Tensor, orders: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, 1 + 2 n, V) at all positions of the sequence, of which 1, 3, 5, ... are read; as the public code.

        tokens (B, n) in the order of orders (B, n), the positions of the grid; labels (B,), num_classes for none.
        """
        return self.output(self.hidden(tokens, orders, labels))


class PositionTables(NamedTuple):
    """What depends on a position of the grid alone."""

    turns: Tensor  # (G, D / 2, 2), cos and sin of the angles by which its queries and keys turn
    embeddings: Tensor  # (G, C): what stands for pos(o)


def position_tables(model: AnyOrder) -> PositionTables:
    """The tables of a model, on its device."""
    config, weight = model.config, model.pos_instruct_embeddings
    turns = grid_turns(config.side, config.width // config.heads).to(weight.device)
    by_head = weight.view(1, config.heads, -1)  # (1, H, D)
    return PositionTables(turns, turned(by_head, turns[:, None]).flatten(1))


def grid_turns(side: int, dim: int) -> Tensor:
    """The two-dimensional rotary embedding (side^2, dim / 2, 2), cos and sin: half of the pairs turn with the row,
    the others with the column."""
    frequencies = THETA ** -(torch.arange(0, dim // 2, 2, dtype=torch.float32) / (dim // 2))  # (dim / 4,)
    angles = torch.arange(side, dtype=torch.float32)[:, None] * frequencies  # (side, dim / 4)
    rows, columns = angles[:, None].expand(-1, side, -1), angles[None].expand(side, -1, -1)
    both = torch.cat([rows, columns], -1).flatten(0, 1)
    return torch.stack([both.cos(), both.sin()], -1)


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """x (..., D) with each pair of neighbouring numbers turned by turns (..., D / 2, 2); where both are 0, 0."""
    (a, b), (cos, sin) = x.unflatten(-1, (-1, 2)).unbind(-1), turns.unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def embed(model: AnyOrder, tables: PositionTables, tokens: Tensor, orders: Tensor) -> Tensor:
    """The sequence's input (I, 2 n, C) but for the class: pos(o_1), tok(o_1), pos(o_2), tok(o_2), ..."""
    return torch.stack([tables.embeddings[orders], model.tok_embeddings(tokens)], 2).flatten(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention (B, H, s, D) of the last s of S positions, q (B, H, s, D) over k and v (B, H, S, D), without a
    dense mask: the fused kernels leave out what is not seen. Where S is more than s, torch's kernels for the CPU take
    a dense one; there it goes through QUERIES at a time, over the keys that they may see."""
    before = k.shape[2] - q.shape[2]
    if not before:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=causal_lower_right(q.shape[2], k.shape[2]))
    out, q = torch.empty_like(q), q * q.shape[-1] ** -0.5
    for first in range(0, q.shape[2], QUERIES):
        end = min(first + QUERIES, q.shape[2])
        logits = q[:, :, first:end] @ k[:, :, : before + end].transpose(-1, -2)
        unseen = torch.ones(end - first, end - first, dtype=torch.bool).triu(1)
        logits[..., before + first :].masked_fill_(unseen, -torch.inf)
        out[:, :, first:end] = logits.softmax(-1) @ v[:, :, : before + end]
    return out


def shared_attention(block: Block, start: Tensor, x: Tensor, turns: Tensor, image: Tensor) -> Tensor:
    """The first block's attention (B, H, 2 n, D) of all pairs, of which the classes of an image share all but the value
    of the class token: its query and key are 0 for every class.

    start (B, C): the class tokens; x (I, 2 n - 1, C) and turns (I, 2 n - 1, D / 2, 2): what follows, of each image.
    """
    q, k, v = (F.pad(part, (0, 0, 1, 0)) for part in block.attention.qkv(block.attention_norm(x), turns))
    to_class = torch.zeros_like(v)
    to_class[:, :, 0] = 1
    others, weight = attend(q, k, v), attend(q, k, to_class)[..., :1]  # (I, H, 2 n, D), (I, H, 2 n, 1)
    value_weight = block.attention.wqkv.weight[2 * x.shape[-1] :]
    value = F.linear(block.attention_norm(start), value_weight).unflatten(-1, (block.attention.heads, 1, -1))
    return torch.addcmul(others[image], weight[image], value)


class Past(NamedTuple):
    """Keys and values of what was read before, of each block; a call of pair_log_prob adds its own."""

    blocks: list[Tensor]  # each (2, B, H, S, D)

    def joined(self, index: int, kv: Tensor) -> Tensor:
        """Those of a block with new ones (2, B, H, s, D) at the end, which are kept for the next call."""
        if index == len(self.blocks):
            self.blocks.append(kv)
        else:
            self.blocks[index] = torch.cat([self.blocks[index], kv], 3)
        return self.blocks[index]


def pair_log_prob(
    model: AnyOrder,
    tables: PositionTables,
    tokens: Tensor,
    orders: Tensor,
    image: Tensor,
    labels: Tensor,
    span: tuple[int, int],
    past: Past | None = None,
) -> Tensor:
    """log p (B, n), float32, of the tokens of a span (first, end) of an order under the labels (B,), num_classes for
    none.

    tokens (I, L) in the order of orders (I, L); image (B,): which of them a pair is of. The head runs at the places of
    positions alone, the span's last token is not looked at, and the last block leaves out what no head reads. past: of
    the pairs, with all that comes before the span; it may be left out where that is nothing, and nothing follows.
    """
    first, end = span
    tokens, orders = tokens[:, :end], orders[:, :end]
    inputs = embed(model, tables, tokens[:, first:], orders[:, first:])[:, :-1]  # (I, 2 n - 1, C): pos, tok, ..., pos
    turns = tables.turns[orders].repeat_interleave(2, 1)[:, :-1]  # (I, 2 end - 1, D / 2, 2)
    if first:
        start, turns_of_all = model.tok_embeddings(tokens[image, first - 1]), turns[:, 2 * first - 1 :]
    else:
        start, turns_of_all = model.cls_embedding.embedding_table(labels), F.pad(turns, AT_CLASS)
    x = torch.cat([start[:, None], inputs[image]], 1)  # (B, 2 n, C)
    of_pairs = turns_of_all[image]
    for i, block in enumerate(model.blocks()):
        if i == 0 and past is None and len(image) > len(tokens):
            h = shared_attention(block, start, inputs, turns, image)
        else:
            q, k, v = block.attention.qkv(block.attention_norm(x), of_pairs)
            k, v = past.joined(i, torch.stack([k, v])) if past else (k, v)
            h = attend(q, k, v)
        h = h.transpose(1, 2).flatten(2)  # (B, 2 n, C)
        if i == model.config.depth - 1:
            x, h = x[:, 1::2], h[:, 1::2]
        x = x + block.attention.wo(h)
        x = x + block.feed_forward(block.ffn_norm(x))
    return head_log_prob(model, x, tokens[image, first:])


def head_log_prob(model: AnyOrder, x: Tensor, tokens: Tensor) -> Tensor:
    """log p of tokens (B, n), float32, from the residual stream (B, n, C) at the positions of their places."""
    return log_prob_in_pieces(lambda rows: model.output(model.norm(rows)).float(), x, tokens)


def pass_gflops(config: AnyOrderConfig, tokens: int) -> float:
    """GFLOPs of a pass over the first tokens of an order, in fvcore's convention, with the head at all positions as the
    public code has it: of all 256 of RandAR-L 166.755; of n of L tokens the share (1 + 2 n) / (1 + 2 L) of it."""
    C = config.width
    return (1 + 2 * tokens) * (config.depth * (4 * C * C + 3 * C * config.hidden) + C * config.vocab_size) / 1e9


def attention_gflops(config: AnyOrderConfig, tokens: int) -> float:
    """GFLOPs of the attention products of such a pass, dense, which fvcore leaves out."""
    return config.depth * 2 * config.width * (1 + 2 * tokens) ** 2 / 1e9
