"""How the threads of jobs wait for each other, on processors that others use too."""

from collections.abc import MutableMapping

# OpenMP's threads spin while they wait, for some milliseconds: where cores are shared, each that spins takes its time
# from the one that is waited for. Asleep at once they take nothing (benchmarks/contention.py). GNU's runtime, LLVM's.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def share_cores(environment: MutableMapping[str, str]) -> None:
    """Says so in the environment that jobs get, unless it says something else. Libraries read it when they are loaded:
    it must be there before a job's Python starts."""
    for name, value in WAITING.items():
        environment.setdefault(name, value)
