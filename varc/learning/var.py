"""Class-incremental learning by a VAR classifier; its strategies: see learn_var."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, tokens_at
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


def learn_var(
    strategy: str,
    tasks: Sequence[Sequence[int]],
    start: VAR,
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    labels: NDArray[np.int64],
    train: dict[str, Any],
    cca: dict[str, Any],
    steps_of: Callable[[int, str], int],
    seed: int,
    device: torch.device,
) -> Iterator[list[Learned]]:
    """Learns task by task, each by cross-entropy and then by CCA on the task's images alone; yields the models.

    var_sequential trains all weights on each task; var_embeddings all on the first, then the class embeddings of the
    new classes only; var_adapters these and low-rank adapters of each task's own; var_joint all weights on all images
    so far at once. start: what the first task is trained from. tokens (S, N, L). train: batch_size and lr. cca: see
    finetune. steps_of(images, "train" or "cca"): how many steps so many images get. Only the images of a task are seen
    in it (var_joint: those of all tasks so far, from the start again), so CCA's negative labels are the task's own.
    """
    learned: list[Learned] = []
    seen: list[int] = []
    for i, task in enumerate(tasks):
        seen = sorted([*seen, *task])
        classes = seen if strategy == "var_joint" else sorted(task)
        which = np.isin(labels, classes)
        small = i > 0 and strategy in ("var_embeddings", "var_adapters")
        if small:
            rank = RANK if strategy == "var_adapters" else 0
            model: Any = NewClasses(learned[0].var, classes, rank, seed + i)
        else:
            model = copy.deepcopy(start if i == 0 or strategy == "var_joint" else learned[-1].var)
            model.train().requires_grad_(True)
        cross_entropy_steps(
            model,
            start.config,
            quantizer,
            torch.from_numpy(tokens[:, which].astype(np.int64)).to(device),
            torch.from_numpy(labels[which]).to(device),
            steps=steps_of(int(which.sum()), "train"),
            batch_size=train["batch_size"],
            lr=train["lr"],
            seed=seed + i,
            report=lambda line: None,
        )
        settings = cca | {"steps": steps_of(int(which.sum()), "cca")}
        model, _ = finetune(
            model,
            quantizer,
            tokens[:, which],
            labels[which],
            settings,
            seed=seed + i,
            device=device,
            report=lambda line: None,
        )
        learned = [*learned, Learned(model.merged(), classes)] if small else [Learned(model, list(seen))]
        yield learned


def log_likelihoods(
    learned: Sequence[Learned],
    quantizer: MultiScaleQuantizer,
    tokens: NDArray[np.uint16],
    candidates: NDArray[np.int32],
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
) -> NDArray[np.int32]:
    """Predictions (N,) among some classes by a funnel's stages. samples: tokens (N, L) of each sample, clean first."""
    candidates = np.tile(np.array(classes, np.int32), (len(samples[0]), 1))
    for stage in funnel:
        length = tokens_at(quantizer.patch_nums, stage["scales"])
        scores = np.mean(
            [
                log_likelihoods(learned, quantizer, sample[:, :length], candidates)
                for sample in samples[: stage["samples"]]
            ],
            axis=0,
        )
        best = np.argsort(-scores, axis=1, kind="stable")[:, : stage["keep"]]
        candidates = np.sort(np.take_along_axis(candidates, best, 1), axis=1)
    return candidates[:, 0]
