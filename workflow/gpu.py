"""What a job on a GPU asks a cluster for: memory of the node, and minutes."""

import math
from collections.abc import Callable

Needs = dict[str, tuple[float | None, float]]  # rule -> bytes (None where unknown) and seconds of its largest job
START = 4000, 15  # MB and minutes beyond the plan: CUDA's context and libraries; loading of models and images


def needs(rule: str, mem_mb: int, runtime: int, planned: Callable[[], Needs]) -> dict[str, Callable[..., int]]:
    """mem_mb and runtime (minutes), as resources of a rule; `--set-resources` or a profile's go before them.

    planned() tells the largest jobs as far as they are known: twice as much is asked for, and START. mem_mb and runtime
    are what a first attempt gets where no plan tells. A second attempt gets twice as much (the profile says how many).
    """

    def first_attempt() -> tuple[int, int]:
        memory, minutes = mem_mb, runtime
        if known := planned().get(rule):
            memory = mem_mb if known[0] is None else START[0] + math.ceil(2 * known[0] / 1e6)
            minutes = START[1] + math.ceil(2 * known[1] / 60)
        return memory, minutes

    return {
        "mem_mb": lambda wildcards, attempt: attempt * first_attempt()[0],
        "runtime": lambda wildcards, attempt: attempt * first_attempt()[1],
    }
