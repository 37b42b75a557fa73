"""Which weights of a training are saved: the last ones or their moving average, of the last step or of the best one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from varc.training.loop import Curve, State

Figures = dict[str, float]  # of a validation, by the names that they have in a curve
Rule = Callable[[Figures], tuple[float, ...]]  # what is largest in the best step


class Average:
    """Exponential moving average, float32, of the parameters of a model that are trained.

    All else is copied, that is as it is in the model: a VQ-VAE's codebook is a moving average already. After step t
    (0, 1, ...) the averages keep min(decay, (1 + t) / (10 + t)) of what they were, so that the first weights, which are
    random, are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the parameters after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            average.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def set(self, values: Sequence[Tensor]) -> None:
        """Sets the parameters, in place."""
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """For a block in which the parameters are the averages."""
        before = [p.detach().clone() for p in self.parameters]
        self.set(self.averages)
        try:
            yield
        finally:
            self.set(before)


class Measure(NamedTuple):
    """A validation of a model as it is, every so many steps and after the last one, and what is best."""

    figures: Callable[[], Figures]
    every: int
    best: Rule


@dataclass
class Best:
    """The best step so far, of equal ones the last; nothing before the first is validated."""

    rule: Rule
    weights: dict[str, Tensor] = field(default_factory=dict)  # of the whole model, in the host's memory
    record: Figures = field(default_factory=dict)  # step, and its figures

    def offer(self, model: nn.Module, step: int, figures: Figures) -> None:
        """Takes the weights of a step unless an earlier one was better."""
        if self.record and self.rule(figures) < self.rule(self.record):
            return
        self.weights.clear()  # first, so that they aren't held twice
        self.weights.update({name: t.detach().to("cpu", copy=True) for name, t in model.state_dict().items()})
        self.record.update(step=step, **figures)


class Selection:
    """Follows a training of `model` and decides which weights are saved.

    ema: decay of a moving average, which then is validated and saved in place of the weights themselves. measure: how
    to validate; without, the last step is saved. keeps: whether this process, of several, keeps the best weights.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int,
        *,
        ema: float | None = None,
        measure: Measure | None = None,
        keeps: bool = True,
    ):
        self.model, self.steps, self.measure, self.keeps = model, steps, measure, keeps
        self.average = Average(model, ema) if ema else None
        self.best = Best(measure.best) if measure else None

    def after(self, row: Figures) -> Figures:
        """What the row of a step, counted from 1, gets in the curve: the figures of its validation, where it is due.
        Row 0 is of the model before the first step."""
        step = int(row["step"])
        if self.average and step:
            self.average.update(step - 1)
        if self.measure is None or self.best is None or (step % self.measure.every and step != self.steps):
            return {}
        with self.average.in_place() if self.average else nullcontext():
            figures = self.measure.figures()
            if self.keeps:
                self.best.offer(self.model, step, figures)
        return figures

    def state(
        self, fingerprint: str, tensors: Sequence[Tensor] = (), generators: Sequence[torch.Generator] = ()
    ) -> State:
        """What a training keeps for after a kill: its own tensors and generators, and those of this selection."""
        averages = self.average.averages if self.average else []
        kept = self.best if self.best and self.keeps else None  # a checkpoint holds those of the process that keeps
        weights, record = (kept.weights, kept.record) if kept else ({}, {})
        return State(fingerprint, [*tensors, *averages], generators, weights, record)

    def finish(self, report: Callable[[str], None]) -> None:
        """Puts the weights that are to be saved into the model."""
        if self.best and self.best.weights:
            self.model.load_state_dict(self.best.weights)
            found = ", ".join(f"{name} {value:.4f}" for name, value in self.best.record.items() if name != "step")
            report(f"best validation at step {self.best.record['step']}: {found}")
        elif self.average:
            self.average.set(self.average.averages)


def kept_step(curve: Curve, rule: Rule) -> Figures:
    """Step and validation figures of the weights that a training saved, for its card; the last step without any."""
    found = [
        {name: value for name, value in row.items() if name == "step" or name.startswith("validation_")}
        for row in curve
    ]
    validated = [row for row in found if len(row) > 1]
    return max(reversed(validated), key=rule) if validated else found[-1]
