"""The wildcards of paths: what they may be, and how methods are asked with them."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from workflow.explaining import Explaining
from workflow.run import Run


def one_of(names: Iterable[str]) -> str:
    """A constraint: one of the names."""
    return "|".join(sorted({re.escape(name) for name in names})) or r"(?!)"


def constraints(run: Run, explaining: Explaining) -> dict[str, str]:
    """What each wildcard may be, as regular expressions."""
    config = run.config
    return {
        "run": config.run,
        "vqvae": r"[\w-]+",
        "model": one_of(config.models),
        "baseline": one_of(config.baselines),
        "scorer": one_of([*config.models, *config.baselines]),
        "dataset": one_of(config.datasets),
        "classifier": one_of(config.classifiers),
        "candidates": one_of(key[2] for key in [*run.scored, *run.pruned]),
        "stage": one_of(key[3] for key in run.scored),
        "noise": one_of(run.noises),
        "shard": r"\d+",
        "tasks": r"\d+",
        "seed": r"\d+",
        "role": r"[\w-]+?",
        "randomised": r"(-randomised)?",
        "precision": r"(-tf32|-bf16)?",
        "method": one_of(key.method for key in explaining.maps),
        "target": rf"label|prediction|\d+|{one_of(key.target for key in explaining.maps)}",
        "against": rf"unconditional|runner_up|\d+|{one_of(key.against for key in explaining.maps)}",
        "pairs": one_of(explaining.pairs),
        "judge": r"[\w-]+",
    }


def asking(
    method: Callable[..., Any], get: str | None, then: Callable[[Any], Any] | None, given: dict[str, Any]
) -> Callable[[Any], Any]:
    """What a method says to the wildcards that it takes by their names, and to what is given.

    Where it takes a tuple, as Map, that is made of the wildcards of its fields. get: which attribute of what it says is
    wanted, if not all. then: what is asked with that in turn.
    """
    takes = {name: item.annotation for name, item in inspect.signature(method).parameters.items() if name not in given}
    tuples = {name: kind for name, kind in takes.items() if hasattr(kind, "_fields")}
    single = [name for name in takes if name not in tuples]

    def asked(wildcards: Any) -> Any:
        made = {name: kind(*(wildcards[field] for field in kind._fields)) for name, kind in tuples.items()}
        found = method(**{name: wildcards[name] for name in single}, **made, **given)
        found = getattr(found, get) if get else found
        return then(found) if then else found

    return asked
