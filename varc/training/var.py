"""Training of a VAR transformer on cached tokens."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, Block, VARConfig
from varc.training.loop import Checkpoint, Curve, fingerprint, optimise
from varc.training.selection import Selection
from varc.training.validation import Validation, measured, top1_then_likelihood

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
    label_dropout: float = LABEL_DROPOUT,
    ema: float | None = None,
    validation: Validation | None = None,
    report: Callable[[str], None] = print,
    checkpoint: Checkpoint | None = None,
) -> tuple[VAR, Curve]:
    """Trains a VAR by cross-entropy on tokens (S, N, L), labels (N,); returns it in eval mode, and the curve.

    Each step draws images at random, and for each one of its S token samples (sample 0 is clean, the others have
    noise on their features, or are of changed images). A label is replaced by the unconditional class with probability
    label_dropout. The loss is in nats per token. ema: decay of a moving average of the weights, which is validated and
    returned. With a validation set the weights of the step with the best accuracy are returned, of equal ones that with
    the best likelihood.
    """
    torch.manual_seed(seed)
    model = VAR(config).train()
    init_weights(model)
    model = model.to(tokens.device)  # drawn on the CPU, so that a seed means the same weights on any device
    settings: Any = {"steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed, "label_dropout": label_dropout}
    made_from = ""
    if checkpoint:
        seen = [torch.from_numpy(np.ascontiguousarray(array)) for array in (validation or ())[:3]]
        facts = [settings, ema, validation and validation.every]
        made_from = fingerprint(facts, [*model.parameters(), *quantizer.parameters(), tokens, labels, *seen])
    measure = measured(model, quantizer, validation, tokens.device, top1_then_likelihood)
    selection = Selection(model, steps, ema=ema, measure=measure)
    settings |= {"report": report, "checkpoint": checkpoint, "made_from": made_from, "selection": selection}
    curve = cross_entropy_steps(model, config, quantizer, tokens, labels, **settings)
    selection.finish(report)
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
    label_dropout: float = LABEL_DROPOUT,
    report: Callable[[str], None],
    checkpoint: Checkpoint | None = None,
    made_from: str = "",
    selection: Selection | None = None,
) -> Curve:
    """The steps of train_var, on the parameters of a model that is called like a VAR, in place; returns the curve.

    made_from: the fingerprint of the training, for a checkpoint. selection: follows the steps; what it is to return is
    the caller's matter.
    """
    selection = selection or Selection(model, steps)
    generator = torch.Generator().manual_seed(seed)

    def losses(step: int) -> Iterator[dict[str, Tensor]]:
        image = torch.randint(tokens.shape[1], (batch_size,), generator=generator)
        sample = torch.randint(tokens.shape[0], (batch_size,), generator=generator)
        dropped = (torch.rand(batch_size, generator=generator) < label_dropout).to(labels.device)
        targets = tokens[sample, image]
        with torch.no_grad():
            teacher_input = quantizer.teacher_input(targets)
        logits = model(labels[image].masked_fill(dropped, config.num_classes), teacher_input)
        yield {"loss": F.cross_entropy(logits.flatten(0, 1), targets.flatten())}

    return optimise(
        model.parameters(),
        losses,
        steps=steps,
        lr=lr,
        report=report,
        after=selection.after,
        checkpoint=checkpoint,
        state=selection.state(made_from, generators=[generator]),
    )


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
