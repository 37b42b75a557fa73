"""Class-incremental learning by a VAR classifier; its strategies: see learn_var."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from varc.learning.tasks import share_of_steps
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, tokens_at
from varc.scoring.funnel import Scores, best_classes, staged
from varc.scoring.progressive import score_survivors
from varc.training.finetune import finetune
from varc.training.var import cross_entropy_steps

RANK = 8


class NewClasses(nn.Module):
    """A frozen VAR with new rows of the class embedding, and low-rank adapters where rank is above 0.

    The adapters add B A (scaled by 1) to every linear layer of the blocks; B starts at 0 (Hu et al. 2022). Only rows
    and adapters are parameters of this module.
    """

    def __init__(self, var: VAR, classes: Sequence[int], rank: int, seed: int):
        super().__init__()
        self.frozen = [var]  # in a list, so that its weights are no parameters of this module
        self.config = var.config
        self.ids = torch.tensor(list(classes), device=var.class_emb.weight.device)
        unconditional = var.class_emb.weight[var.config.num_classes]
        self.rows = nn.Parameter(unconditional.detach().repeat(len(classes), 1))
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        generator = torch.Generator().manual_seed(seed)
        for name, weight in var.named_parameters():
            if rank and name.startswith("blocks.") and weight.ndim == 2:
                key = name.replace(".", "/")
                drawn = torch.randn(rank, weight.shape[1], generator=generator) * weight.shape[1] ** -0.5
                self.a[key] = nn.Parameter(drawn.to(weight.device))
                self.b[key] = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def weights(self) -> dict[str, Tensor]:
        """The VAR's tensors that differ from the frozen ones."""
        (var,) = self.frozen
        changed = {"class_emb.weight": var.class_emb.weight.index_copy(0, self.ids, self.rows)}
        for key in self.a:
            name = key.replace("/", ".")
            changed[name] = var.get_parameter(name) + self.b[key] @ self.a[key]
        return changed

    def forward(self, labels: Tensor, teacher_input: Tensor) -> Tensor:
        return functional_call(self.frozen[0], self.weights(), (labels, teacher_input))

    def merged(self) -> VAR:
        """A VAR of its own with these weights."""
        var = VAR(self.config).to(self.rows.device)
        var.load_state_dict({**self.frozen[0].state_dict(), **{n: t.detach() for n, t in self.weights().items()}})
        return var.eval().requires_grad_(False)


class Learned(NamedTuple):
    """A VAR that scores some of the classes."""

    var: VAR
    classes: list[int]


@dataclass(frozen=True)
class Lessons:
    """What is learned: the classes of each task, and the images of them all."""

    tasks: Sequence[Sequence[int]]
    tokens: NDArray[np.uint16]  # (S, N, L), of each image's samples
    labels: NDArray[np.int64]  # (N,)


@dataclass(frozen=True)
class Training:
    """How it is learned: by cross-entropy and then by CCA, in so many steps if all images came at once."""

    cross_entropy: dict[str, Any]  # steps, batch_size and lr
    cca: dict[str, Any]  # as finetune takes them
    seed: int


def learn_var(
    strategy: str, start: VAR, quantizer: MultiScaleQuantizer, lessons: Lessons, training: Training
) -> Iterator[list[Learned]]:
    """Learns task by task, each on the task's images alone; yields the models, on the device of `start`.

    var_sequential trains all weights on each task; var_embeddings all on the first, then the class embeddings of the
    new classes only; var_adapters these and low-rank adapters of each task's own; var_joint all weights on all images
    so far at once. start: what the first task is trained from. Only the images of a task are seen in it (var_joint:
    those of all tasks so far, from the start again), so CCA's negative labels are the task's own.
    """
    learned: list[Learned] = []
    seen: list[int] = []
    for i, task in enumerate(lessons.tasks):
        seen = sorted([*seen, *task])
        classes = seen if strategy == "var_joint" else sorted(task)
        own = replace(training, seed=training.seed + i)
        if i > 0 and strategy in ("var_embeddings", "var_adapters"):
            new = NewClasses(learned[0].var, classes, RANK if strategy == "var_adapters" else 0, own.seed)
            learn_classes(new, classes, quantizer, lessons, own)
            learned = [*learned, Learned(new.merged(), classes)]
        else:
            var = copy.deepcopy(start if i == 0 or strategy == "var_joint" else learned[-1].var)
            var.train().requires_grad_(True)
            learn_classes(var, classes, quantizer, lessons, own)
            learned = [Learned(var, list(seen))]
        yield learned


def learn_classes(
    model: Any, classes: Sequence[int], quantizer: MultiScaleQuantizer, lessons: Lessons, training: Training
) -> None:
    """Trains a VAR, or NewClasses of one, in place, on the images of some classes in their share of the steps; the
    model is in eval mode then."""
    which = np.isin(lessons.labels, classes)
    tokens, labels = lessons.tokens[:, which], lessons.labels[which]
    device = next(model.parameters()).device
    cross_entropy_steps(
        model,
        model.config,
        quantizer,
        torch.from_numpy(tokens.astype(np.int64)).to(device),
        torch.from_numpy(labels).to(device),
        steps=share_of_steps(training.cross_entropy, len(labels), len(lessons.labels)),
        batch_size=training.cross_entropy["batch_size"],
        lr=training.cross_entropy["lr"],
        seed=training.seed,
        report=lambda line: None,
    )
    steps = share_of_steps(training.cca, len(labels), len(lessons.labels))
    settings = training.cca | {"steps": steps}
    finetune(model, quantizer, tokens, labels, settings, seed=training.seed, device=device, report=lambda line: None)


def log_likelihoods(
    learned: Sequence[Learned],
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[Any],
) -> NDArray[np.float64]:
    """log p(x|y) (N, M) in nats of tokens (N, L) of the first scales, each candidate by the model that learned it."""
    device = learned[0].var.head.weight.device
    return np.sum(
        [
            score_survivors(m.var, quantizer, tokens, candidates, np.isin(candidates, m.classes), device)
            for m in learned
        ],
        axis=0,
    )


def funnel_predictions(
    learned: Sequence[Learned],
    quantizer: MultiScaleQuantizer,
    samples: Sequence[NDArray[np.uint16]],
    classes: Sequence[int],
    funnel: Sequence[dict[str, Any]],
) -> NDArray[Any]:
    """Predictions (N,) among some classes by a funnel's stages. samples: tokens (N, L) of each sample, clean first."""

    def score(i: int, candidates: NDArray[Any], before: Scores | None) -> NDArray[np.float64]:
        length = tokens_at(quantizer.patch_nums, funnel[i]["scales"])
        of_samples = samples[: funnel[i]["samples"]]
        return np.mean(
            [log_likelihoods(learned, quantizer, sample[:, :length], candidates) for sample in of_samples], axis=0
        )

    candidates = np.tile(np.array(classes, np.int32), (len(samples[0]), 1))
    ids = np.full(len(candidates), "", object)  # nobody asks for them
    return best_classes(staged(score, [stage["keep"] for stage in funnel], candidates, ids)[-1])
