"""What a rival's stages cost, from its config entry alone."""

from typing import Any

from varc.baselines.family import Cost, Family, family, settings
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
