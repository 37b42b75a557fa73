"""What a rival's stages cost, from its config entry alone."""

from collections.abc import Sequence
from typing import Any

from varc.baselines.family import Cost, Family, family, settings
from varc.costs.counting import ModelCosts
from varc.data.classes import class_ids, data_set_classes


def shaped_family(baseline: dict[str, Any], training: dict[str, Any] | None) -> tuple[Family, Any, int]:
    """The family of a config's baseline, its Shape, and how many classes it knows.

    training: the entry of the data set that it learns from, None for public weights, whose entry says their classes.
    """
    kind = family(baseline["family"])
    classes = baseline["classes"] if training is None else class_ids(data_set_classes(training))[-1] + 1
    return kind, settings(kind.Shape, baseline["shape"]), classes


def stage_costs(kind: Family, shape: Any, classes: int, stages: list[dict[str, Any]], candidates: int) -> list[Cost]:
    """What each of a classifier's stages takes per image; the first has so many candidates.

    shape: of a model that knows so many classes. stages: the config's entries, `keep` among their keys.
    """
    costs, earlier = [], None
    for stage in stages:
        scoring = settings(kind.Scoring, stage, but="keep")
        costs.append(kind.cost(shape, classes, scoring, candidates, earlier))
        candidates, earlier = min(candidates, stage.get("keep", 1)), scoring
    return costs


def rival_step_costs(steps: dict[str, Any]) -> ModelCosts:
    """What the costs of an adaptive stage are made of. steps: the config's baseline, what that is trained on (see
    shaped_family), and the stage's keys of its family, `adaptive`."""
    kind: Any
    kind, shape, classes = shaped_family(steps["baseline"], steps["training"])
    return kind.step_costs(shape, classes, settings(kind.Adaptive, steps["adaptive"]))


def rival_step_tokens(steps: dict[str, Any]) -> list[int]:
    """How many tokens of an image are scored after each of these steps; see rival_step_costs."""
    entry = steps["baseline"]
    kind: Any = family(entry["family"])
    return kind.step_tokens(settings(kind.Shape, entry["shape"]), settings(kind.Adaptive, steps["adaptive"]))


def last_stage_cost(stage: dict[str, Any]) -> Cost:
    """What the last of a rival's stages takes per image, as plans tell them: the config's baseline and what that is
    trained on (see shaped_family), the stages and the candidates of the first, and what is `planned` of an adaptive
    one."""
    baseline, training = stage["baseline"], stage["training"]
    if planned := stage.get("planned"):
        costs = rival_step_costs({"baseline": baseline, "training": training, "adaptive": planned["adaptive"]})
        return planned_cost(costs, stage["candidates"], planned["samples"], planned["survival"])
    return stage_costs(*shaped_family(baseline, training), stage["stages"], stage["classes"])[-1]


def planned_cost(costs: ModelCosts, candidates: int, samples: int, survival: Sequence[float] = ()) -> Cost:
    """What an adaptive stage takes per image where these shares of the candidates are left after its steps, the last
    one after all that follow; those at the end take all samples. No shares: its most."""
    last = len(costs.passes)
    left = [1.0, *survival, *[survival[-1] if survival else 1.0] * last]
    ends = {k: left[k - 1] - left[k] for k in range(1, last)} | {last: left[last - 1] + left[last] * (samples - 1)}
    gflops, attention = (
        candidates * sum(share * getattr(costs.passes[k], name) for k, share in ends.items())
        for name in ("gflops", "attention_gflops")
    )
    passes = round(candidates * (1 + left[last] * (samples - 1)))
    return Cost(passes, costs.encoder.gflops + gflops, attention + costs.encoder.attention_gflops)
