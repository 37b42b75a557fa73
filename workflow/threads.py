"""How the threads of jobs wait for each other, on processors that others use too."""

from collections.abc import MutableMapping

# OpenMP's threads spin while they wait, for some milliseconds: where cores are shared, each that spins takes its time
# from the one that is waited for. GNU's runtime spins a few microseconds here, which alone is as fast as its own choice
# (asleep at once is not), LLVM's not at all: benchmarks/contention.py.
WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}


def share_cores(environment: MutableMapping[str, str]) -> None:
    """Says so in the environment that jobs get, unless it says how threads wait.

    Libraries read it when they are loaded: it must be there before a job's Python starts.
    """
    if "OMP_WAIT_POLICY" in environment:
        return
    for name, value in WAITING.items():
        environment.setdefault(name, value)
