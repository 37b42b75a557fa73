"""Funnels of fixed stages as text and as plain data, without torch: what a config, a call and a command say."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

from varc.errors import InputError, brief

SPELLED = re.compile(
    r"(?P<scales>[1-9]\d*)x(?P<samples>[1-9]\d*)(-(?P<precision>bf16|tf32))?(-keep(?P<keep>[1-9]\d*))?"
)
Precision = Literal["float32", "tf32", "bf16"]
PRECISIONS = get_args(Precision)


class FixedStage(NamedTuple):
    """A stage of a funnel: it scores its candidates at the first scales, on so many token samples, and keeps some."""

    scales: int
    samples: int = 1
    keep: int = 1
    precision: str = "float32"
    guidance: float | None = None


def check_falling_keep(key: str, keeps: Sequence[int]) -> None:
    """`keep` falls from stage to stage and ends with 1. Raises ValueError."""
    for i, (before, keep) in enumerate(pairwise(keeps), 1):
        if keep >= before:
            raise ValueError(f"{key}: {i}: keep is {keep} after {before}; it must fall from stage to stage")
    if keeps[-1] != 1:
        raise ValueError(f"{key}: the last stage has keep {keeps[-1]}; it must be 1, the prediction")


def check_guidance(key: str, stages: Sequence[Any]) -> None:
    """Guidance goes with one stage of one sample. Raises ValueError."""
    guided = [i for i, stage in enumerate(stages) if stage.guidance]
    if guided and (len(stages) > 1 or stages[0].samples > 1):
        raise ValueError(f"{key}: {guided[0]}: guidance goes with one stage of one sample, without calibrate")


def read_funnel(given: str | Sequence[Mapping[str, Any]] | None, scales: int) -> list[FixedStage]:
    """The stages of a funnel for a model of so many scales.

    given: text such as "6x1-keep10 10x1-keep3 10x3" (scales x samples; -bf16 or -tf32 before -keep for a precision;
    keep 1 where it is left out), or the stages as in a config; None: one stage at all scales. Raises InputError for
    another text, an unknown key, more scales than the model has, and where keep does not fall to 1.
    """
    if given is None:
        return [FixedStage(scales)]
    stages = [spelled(word) for word in given.split()] if isinstance(given, str) else [plain(i) for i in given]
    if not stages:
        raise InputError("funnel: has no stage; give at least one, as 10x1")
    for i, stage in enumerate(stages):
        if stage.scales > scales:
            raise InputError(
                f"funnel: {i}: scales is {stage.scales}, but the model has {scales}; give {scales} or fewer"
            )
    try:
        check_falling_keep("funnel", [stage.keep for stage in stages])
        check_guidance("funnel", stages)
    except ValueError as error:
        raise InputError(str(error)) from None
    return stages


def spelled(word: str) -> FixedStage:
    """A stage from its spelling; see read_funnel."""
    found = SPELLED.fullmatch(word)
    if not found:
        raise InputError(f"funnel: {brief(word)}: expected <scales>x<samples>-keep<classes>, such as 6x1-keep10")
    precision = found["precision"] or "float32"
    return FixedStage(int(found["scales"]), int(found["samples"]), int(found["keep"] or 1), precision)


def plain(stage: Any) -> FixedStage:
    """A stage from what a config says of it; see read_funnel."""
    if isinstance(stage, FixedStage):
        return stage
    if isinstance(stage, Mapping) and (taught := {"adaptive", "certify"} & set(stage)):
        raise InputError(f"funnel: {min(taught)}: it takes thresholds from a run; give the run and its classifier")
    if not isinstance(stage, Mapping) or "scales" not in stage or set(stage) - set(FixedStage._fields):
        known = ", ".join(FixedStage._fields)
        raise InputError(f"funnel: {brief(stage)}: expected a stage with scales, and of {known} what it needs")
    found = FixedStage(**stage)
    for key in ("scales", "samples", "keep"):
        value = getattr(found, key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"funnel: {key} is {brief(value)}; expected a whole number from 1 on")
    guidance = found.guidance
    if guidance is not None and (isinstance(guidance, bool) or not isinstance(guidance, int | float) or guidance <= 0):
        raise InputError(f"funnel: guidance is {brief(guidance)}; expected a number above 0")
    if found.precision not in PRECISIONS:
        raise InputError(f"funnel: precision is {brief(found.precision)}; expected {', '.join(PRECISIONS)}")
    return found
