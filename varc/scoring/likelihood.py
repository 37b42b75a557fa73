"""The engine: log-likelihoods of tokens under classes, by teacher-forced forward passes over (image, class) pairs.

It gives what the forward of varc.models.var.VAR gives, in less time: what depends on the class alone (adaLN, the start
token) or on the image alone (the input embedding) is computed once; each scale attends to just the positions that it
may see; and the head's logits are reduced in pieces, so that no tensor of (pairs, positions, vocabulary) exists.
Shapes: B pairs, L tokens of which l are computed, C width, H heads, D = C / H, V codebook entries.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.device import products_in
from varc.keep import Keep, at_once
from varc.models.arithmetic import Arithmetic
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import MAX_LOG_SCALE, VAR, Block, tokens_at
from varc.scoring.attention import attend, log_prob_in_pieces
from varc.scoring.batching import in_batches, most_pairs, pairs_per_batch

ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()


def sum_per_scale(log_prob: Tensor, patch_nums: Sequence[int]) -> Tensor:
    """Sums of (B, L) over the tokens of each scale that L covers: float64 (B, k)."""
    sizes = [p * p for p in patch_nums[: scales_in(patch_nums, log_prob.shape[1])]]
    return torch.stack([part.double().sum(1) for part in log_prob.split(sizes, dim=1)], dim=1)


def scales_in(patch_nums: Sequence[int], length: int) -> int:
    """How many scales `length` tokens are."""
    return next(k for k in range(len(patch_nums) + 1) if tokens_at(patch_nums, k) == length)


class ClassTables(NamedTuple):
    """What depends on the class alone; row i is of class_ids[i]."""

    class_ids: Tensor  # (n,), ascending
    start: Tensor  # (n, p_0^2, C)
    blocks: Sequence[tuple[Tensor, ...]]  # each gamma1, gamma2, 1 + scale1, 1 + scale2, shift1, shift2 (n, 1, C)
    head: tuple[Tensor, Tensor]  # 1 + scale, shift: each (n, 1, C)


OfPairs = Callable[[VAR, ClassTables, Tensor, Tensor, Tensor], NDArray[Any]]  # of what pair_log_prob takes, rows (B, n)


def class_tables(var: VAR, class_ids: Tensor) -> ClassTables:
    """The tables of some classes (n,), ascending."""
    cond = var.class_emb(class_ids)
    block_cond = var.shared_ada_lin(cond).view(-1, 1, 6, var.config.width) if var.config.shared_adaln else cond
    blocks = []
    for block in var.blocks:
        gamma1, gamma2, scale1, scale2, shift1, shift2 = block.modulation(block_cond)  # type: ignore[operator]
        blocks.append((gamma1, gamma2, 1 + scale1, 1 + scale2, shift1, shift2))
    scale, shift = var.head_nm.ada_lin(cond).view(-1, 1, 2, var.config.width).unbind(2)
    return ClassTables(class_ids, cond[:, None] + var.pos_start, blocks, (1 + scale, shift))


def embed(var: VAR, teacher_input: Tensor) -> Tensor:
    """The transformer's input (N, L, C) of images, but for the start token, which is the class's."""
    first = var.config.patch_nums[0] ** 2
    L = first + teacher_input.shape[1]
    x = F.pad(var.word_embed(teacher_input), (0, 0, first, 0))
    return x + var.lvl_embed(var.lvl_1L[:, :L]) + var.pos_1LC[:, :L]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """F.linear, and tanh-GELU of it where activation is "gelu".

    On the CPU by oneDNN, with the activation fused: measured 1.1 times as fast as what F.linear calls there. The
    operator is the one that torch's own compiler emits; where this torch lacks it, F.linear does the work.
    """
    if ONEDNN and x.device.type == "cpu":
        algorithm = "tanh" if activation == "gelu" else ""
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], algorithm)
    h = F.linear(x, weight, bias)
    return F.gelu(h, approximate="tanh") if activation == "gelu" else h


def modulated(x: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor:
    """LayerNorm, scaled and shifted."""
    h = F.layer_norm(x, (x.shape[-1],), eps=1e-6)
    return torch.addcmul(shift, h, scale, out=h).to(dtype)


def attention(block: Block, h: Tensor, spans: Sequence[tuple[int, int]], past: Tensor | None) -> tuple[Tensor, Tensor]:
    """The block's attention over h (B, l, C), and keys and values (2, B, H, L, D) with those of earlier positions.

    spans: first and end of each scale in h; a scale sees everything up to its own end.
    """
    attn = block.attn
    B, length, C = h.shape
    bias = torch.cat([attn.q_bias, attn.zero_k_bias, attn.v_bias])  # (3 C,)
    qkv = linear(h, attn.mat_qkv.weight, bias).view(B, length, 3, attn.heads, -1)  # (B, l, 3, H, D)
    scale = attn.scale_mul_1H11.clamp_max(MAX_LOG_SCALE).exp().view(1, -1, 1)  # (1, H, 1)
    qk = qkv[:, :, :2]  # normalised in place, as they lie: 3 times as fast for narrow heads
    qk *= (torch.cat([scale, torch.ones_like(scale)]) / lengths(qk)).to(qk.dtype)
    parts = qkv.permute(2, 0, 3, 1, 4)
    q, kv = parts[0], parts[1:]  # (B, H, l, D), (2, B, H, l, D)
    if past is not None:
        kv = torch.cat([past, kv], dim=3)  # (2, B, H, L, D)
    out = attend(q, kv, spans, block.arithmetic.forms.attention)  # (B, l, H, D)
    return linear(out.view(B, length, C), attn.proj.weight, attn.proj.bias), kv  # (B, l, C)


def lengths(x: Tensor) -> Tensor:
    """Euclidean norms over the last dimension, float32, kept away from 0 as F.normalize does."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).clamp_min(1e-12)


def block_pass(
    block: Block, x: Tensor, modulation: Sequence[Tensor], spans: Sequence[tuple[int, int]], past: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One block over the residual stream x (B, l, C), float32; the linear layers run in the weights' dtype."""
    gamma1, gamma2, scale1, scale2, shift1, shift2 = modulation
    dtype = block.attn.proj.weight.dtype
    with products_in(block.arithmetic.precision):
        h, kv = attention(block, modulated(x, scale1, shift1, dtype), spans, past)
        x = torch.addcmul(x, h.to(x.dtype), gamma1)
        fc1, fc2 = block.ffn.fc1, block.ffn.fc2
        h = linear(modulated(x, scale2, shift2, dtype), fc1.weight, fc1.bias, "gelu")  # (B, l, 4 C)
        h = linear(h, fc2.weight, fc2.bias)  # (B, l, C)
        return torch.addcmul(x, h.to(x.dtype), gamma2), kv


def head_log_prob(var: VAR, hidden: Tensor, tokens: Tensor) -> Tensor:
    """log p of tokens (B, l), float32, from what the head sees (B, l, C)."""
    form = var.arithmetic.forms.log_prob
    return log_prob_in_pieces(lambda rows: linear(rows, var.head.weight, var.head.bias), hidden, tokens, form)


def pair_log_prob(var: VAR, tables: ClassTables, x: Tensor, tokens: Tensor, rows: Tensor) -> Tensor:
    """log p per token (B, L), float32, of tokens (B, L) with input embeddings x (B, L, C), under the rows (B,)."""
    return head_log_prob(var, pair_hidden(var, tables, x, rows), tokens)


def pair_hidden(var: VAR, tables: ClassTables, x: Tensor, rows: Tensor) -> Tensor:
    """What the head sees (B, L, C), float32, of input embeddings x (B, L, C) under the rows (B,)."""
    first = var.config.patch_nums[0] ** 2
    x = x.clone()
    x[:, :first] += tables.start[rows]
    spans = list(pairwise(accumulate((p * p for p in var.config.patch_nums), initial=0)))
    spans = [span for span in spans if span[1] <= x.shape[1]]
    for block, table in zip(var.blocks, tables.blocks, strict=True):
        x, _ = block_pass(block, x, [part[rows] for part in table], spans)  # type: ignore[arg-type]
    return modulated(x, tables.head[0][rows], tables.head[1][rows], torch.float32)


def computing(var: VAR, arithmetic: Arithmetic) -> VAR:
    """The model, computing so: it shares its weights, but for bf16 the blocks' linear layers, which are bfloat16.

    Raises ValueError for a model in another precision than float32, from which no other can be had.
    """
    if arithmetic == var.arithmetic:
        return var
    if var.arithmetic.precision != "float32":
        raise ValueError(f"a model in {var.arithmetic.precision} cannot compute in {arithmetic.precision}")
    same: dict[int, Any] = {id(t): t for t in (*var.parameters(), *var.buffers())}  # what stands for each tensor
    if arithmetic.precision == "bf16":
        for part in (part for block in var.blocks for part in (block.attn, block.ffn)):
            assert isinstance(part, nn.Module)
            same |= {id(t): nn.Parameter(t.bfloat16(), requires_grad=False) for t in part.parameters()}
            same |= {id(t): t.bfloat16() for t in part.buffers()}
    model = copy.deepcopy(var, same)
    for part in (model, *model.blocks):
        part.arithmetic = arithmetic
    return model


@torch.inference_mode()
def score(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    *,
    device: torch.device,
    batch_size: int | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
    keep: Keep = at_once,
) -> NDArray[np.float64]:
    """Log-likelihoods per scale (N, M, k), in nats, of images under their candidate classes.

    tokens: (N, L) of the first k scales. candidates: (N, M) class_ids. A batch holds (image, class) pairs, also of
    several images; its size (None: chosen by varc.scoring.batching) changes results by float rounding only, and is
    halved where memory does not suffice. The model says how it computes (see computing). report(done, total) is called
    with the pairs scored so far, after each batch. A batch is a piece for `keep`.
    """
    patch_nums = var.config.patch_nums

    def scales(*pairs: Any) -> NDArray[np.float64]:
        return sum_per_scale(pair_log_prob(*pairs), patch_nums).cpu().numpy()

    result = np.empty((candidates.size, scales_in(patch_nums, tokens.shape[1])))
    for first, found in batches(var, quantizer, tokens, candidates, device, batch_size, scales, keep):
        result[first : first + len(found)] = found
        report(first + len(found), len(result))
    return result.reshape(*candidates.shape, result.shape[1])


@torch.inference_mode()
def score_tokens(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    *,
    device: torch.device,
    batch_size: int | None = None,
    keep: Keep = at_once,
) -> NDArray[np.float32]:
    """log p of each token (N, M, L), in nats, of images under their candidate classes; see score."""

    def log_prob(*pairs: Any) -> NDArray[np.float32]:
        return pair_log_prob(*pairs).cpu().numpy()

    result = np.empty((candidates.size, tokens.shape[1]), np.float32)
    for first, found in batches(var, quantizer, tokens, candidates, device, batch_size, log_prob, keep):
        result[first : first + len(found)] = found
    return result.reshape(*candidates.shape, result.shape[1])


def batches(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
    device: torch.device,
    batch_size: int | None,
    of_pairs: OfPairs,
    keep: Keep,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """First pair and what of_pairs gives of a batch, a row for each pair, of every batch in order; see score."""
    classes, length = candidates.shape[1], tokens.shape[1]
    tables = class_tables(var, on_device(np.unique(candidates), device))

    def run(first: int, end: int) -> NDArray[Any]:
        before = first // classes
        some = on_device(tokens[before : (end - 1) // classes + 1], device)  # (n, L), of the images that take part
        image = torch.arange(first, end, device=device) // classes - before  # (B,), of each pair, among these
        rows = torch.searchsorted(tables.class_ids, on_device(candidates.ravel()[first:end], device))  # (B,)
        x = embed(var, quantizer.teacher_input(some))[image]  # (B, L, C)
        return of_pairs(var, tables, x, some[image], rows)

    size = min(batch_size, most_pairs(length)) if batch_size else pairs_per_batch(var, length, device)
    yield from in_batches(candidates.size, size, run, keep)


def on_device(numbers: NDArray[Any], device: torch.device) -> Tensor:
    """Whole numbers as int64 on a device."""
    return torch.from_numpy(numbers.astype(np.int64)).to(device)
