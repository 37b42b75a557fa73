"""What the wildcards of result files may be: the names that a config has, and what its stages and maps are called."""

import re
from collections.abc import Iterable

from workflow.explaining import Explaining
from workflow.run import Run


def one_of(names: Iterable[str]) -> str:
    """A wildcard constraint: one of the names."""
    return "|".join(sorted({re.escape(name) for name in names})) or r"(?!)"


def constraints(run: Run, explaining: Explaining) -> dict[str, str]:
    """Wildcard -> regular expression."""
    config = run.config
    return {
        "run": config.run,
        "vqvae": r"[\w-]+",
        "model": one_of(config.models),
        "baseline": one_of(config.baselines),
        "scorer": one_of([*config.models, *config.baselines]),
        "dataset": one_of(config.datasets),
        "classifier": one_of(config.classifiers),
        "candidates": one_of([key[2] for key in [*run.scored, *run.pruned]]),
        "stage": one_of(key[3] for key in run.scored),
        "noise": one_of(run.noises),
        "shard": r"\d+",
        "tasks": r"\d+",
        "seed": r"\d+",
        "role": r"[\w-]+?",
        "randomised": r"(-randomised)?",
        "method": one_of(key.method for key in explaining.maps),
        "target": r"label|prediction|\d+",
        "against": r"unconditional|runner_up|\d+",
        "judge": r"[\w-]+",
    }
