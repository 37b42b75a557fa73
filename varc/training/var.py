"""Training of a VAR transformer on cached tokens."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, Block, VARConfig
from varc.training.loop import Checkpoint, Curve, State, fingerprint, optimise

LABEL_DROPOUT = 0.1


def train_var(
    config: VARConfig,
    quantizer: MultiScaleQuantizer,
    tokens: Tensor,
    labels: Tensor,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    report: Callable[[str], None] = print,
    checkpoint: Checkpoint | None = None,
) -> tuple[VAR, Curve]:
    """Trains a VAR by cross-entropy on tokens (S, N, L), labels (N,); returns it in eval mode, and the curve.

    Each step draws images at random, and for each one of its S token samples (sample 0 is clean, the others have
    noise on their features). A label is replaced by the unconditional class with probability 0.1. The loss is in
    nats per token.
    """
    torch.manual_seed(seed)
    model = VAR(config).train()
    init_weights(model)
    model = model.to(tokens.device)  # drawn on the CPU, so that a seed means the same weights on any device
    settings: Any = {"steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed}
    made_from = ""
    if checkpoint:
        made_from = fingerprint(settings, [*model.parameters(), *quantizer.parameters(), tokens, labels])
    settings |= {"report": report, "checkpoint": checkpoint, "made_from": made_from}
    curve = cross_entropy_steps(model, config, quantizer, tokens, labels, **settings)
    return model.eval(), curve


def cross_entropy_steps(
    model: nn.Module,
    config: VARConfig,
    quantizer: MultiScaleQuantizer,
    tokens: Tensor,
    labels: Tensor,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    report: Callable[[str], None],
    checkpoint: Checkpoint | None = None,
    made_from: str = "",
) -> Curve:
    """The steps of train_var, on the parameters of a model that is called like a VAR, in place; returns the curve.

    made_from: the fingerprint of the training, for a checkpoint.
    """
    generator = torch.Generator().manual_seed(seed)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        image = torch.randint(tokens.shape[1], (batch_size,), generator=generator)
        sample = torch.randint(tokens.shape[0], (batch_size,), generator=generator)
        dropped = (torch.rand(batch_size, generator=generator) < LABEL_DROPOUT).to(labels.device)
        targets = tokens[sample, image]
        with torch.no_grad():
            teacher_input = quantizer.teacher_input(targets)
        logits = model(labels[image].masked_fill(dropped, config.num_classes), teacher_input)
        yield {"loss": F.cross_entropy(logits.flatten(0, 1), targets.flatten())}

    state = State(made_from, generators=[generator])
    return optimise(model.parameters(), losses, steps=steps, lr=lr, report=report, checkpoint=checkpoint, state=state)


def init_weights(model: VAR) -> None:
    """Small normal weights; adaLN starts near the identity, with its gates at 0.3."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(model.pos_1LC, std=0.02)
    nn.init.trunc_normal_(model.pos_start, std=0.02)
    width = model.config.width
    for block in model.blocks:
        assert isinstance(block, Block)
        nn.init.trunc_normal_(block.attn.mat_qkv.weight, std=width**-0.5)
        nn.init.trunc_normal_(block.attn.proj.weight, std=width**-0.5)
        nn.init.trunc_normal_(block.ffn.fc1.weight, std=width**-0.5)
        nn.init.trunc_normal_(block.ffn.fc2.weight, std=(4 * width) ** -0.5)
        with torch.no_grad():
            block.gates().fill_(0.3)
