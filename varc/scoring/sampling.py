"""New images from a VAR: tokens drawn scale by scale, with the keys and values of earlier scales kept."""

import torch
import torch.nn.functional as F
from torch import Tensor

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, tokens_at
from varc.scoring.likelihood import block_pass, class_tables, linear, modulated


@torch.inference_mode()
def sample_tokens(
    var: VAR,
    quantizer: MultiScaleQuantizer,
    labels: Tensor,
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    guidance: float = 1.0,
) -> Tensor:
    """Tokens (B, L) of images drawn under labels (B,) from the model; draws are made on the CPU, by the generator.

    guidance g mixes the logits of the label and of the unconditional class, u + g (c - u), so 1 is the model as it is
    (Ho and Salimans 2022). temperature divides the logits; then top_k keeps the most likely codes, and top_p the
    smallest set of codes whose probabilities reach it.
    """
    config = var.config
    rows = labels if guidance == 1.0 else torch.cat([labels, torch.full_like(labels, config.num_classes)])
    class_ids, row = rows.unique(return_inverse=True)
    tables = class_tables(var, class_ids)
    full = config.patch_nums[-1]
    f_hat = torch.zeros(len(labels), config.z_channels, full, full, device=labels.device)
    past: list[Tensor | None] = [None] * len(var.blocks)
    tokens = []
    for k, p in enumerate(config.patch_nums):
        first, end = tokens_at(config.patch_nums, k), tokens_at(config.patch_nums, k + 1)
        if k == 0:
            x = tables.start[row]
        else:
            teacher_input = F.interpolate(f_hat, size=(p, p), mode="area").flatten(2).transpose(1, 2)
            x = var.word_embed(teacher_input).repeat(len(rows) // len(labels), 1, 1)
        x = x + var.lvl_embed(var.lvl_1L[:, first:end]) + var.pos_1LC[:, first:end]
        for b, block in enumerate(var.blocks):
            table = [part[row] for part in tables.blocks[b]]
            x, past[b] = block_pass(block, x, table, [(0, end - first)], past[b])  # type: ignore[arg-type]
        h = modulated(x, tables.head[0][row], tables.head[1][row], torch.float32)
        logits = linear(h, var.head.weight, var.head.bias)
        if guidance != 1.0:
            conditional, unconditional = logits.chunk(2)
            logits = unconditional + guidance * (conditional - unconditional)
        drawn = draw(logits.cpu(), temperature, top_k, top_p, generator).to(labels.device)
        tokens.append(drawn)
        f_hat = f_hat + quantizer.contribution(drawn, k)
    return torch.cat(tokens, dim=1)


def draw(logits: Tensor, temperature: float, top_k: int | None, top_p: float, generator: torch.Generator) -> Tensor:
    """One code (B, l) per position, from logits (B, l, V)."""
    probabilities = (logits / temperature).softmax(-1)
    ordered, codes = probabilities.sort(dim=-1, descending=True)
    if top_k is not None:
        ordered[..., top_k:] = 0.0
    before = ordered.cumsum(-1) - ordered
    ordered[before >= top_p * ordered.sum(-1, keepdim=True)] = 0.0
    chosen = torch.multinomial(ordered.flatten(0, 1), 1, generator=generator).view(*logits.shape[:2], 1)
    return codes.gather(-1, chosen)[..., 0]
