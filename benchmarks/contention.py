"""Training beside busy processes: python benchmarks/contention.py [--policies default passive ...] [--repeats 3].

The demo's VAR trains with two threads, alone and beside twice as many busy processes as there are cores. With t
threads, b busy processes and c cores its fair share is t c / (b + t) cores: `of fair` is its wall seconds over the CPU
seconds that it takes alone divided by that share (1.2 or less is wanted), `CPU` its CPU seconds over those alone (1.3
or less). Policies are environments of OpenMP, measured in turn; `jobs` is the one that the rules' jobs get.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from workflow.threads import WAITING

THREADS = 2
POLICIES = {
    "default": {},
    "jobs": WAITING,
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin3000": {"GOMP_SPINCOUNT": "3000"},
    "spin10000": {"GOMP_SPINCOUNT": "10000"},
}
WORK = """
import json, resource, sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VARConfig
from varc.training.var import train_var
scales = (1, 2, 3, 4)
quantizer = MultiScaleQuantizer(64, 8, scales).requires_grad_(False)
tokens, labels = torch.randint(64, (1, 500, 30)), torch.randint(10, (500,))
def train(steps):
    train_var(VARConfig(2, 64, 4, 10, 64, 8, scales), quantizer, tokens, labels, steps=steps, batch_size=64, lr=1e-3,
              seed=0, report=lambda line: None)
train(3)
start, cpu = time.monotonic(), time.process_time()
train(int(sys.argv[2]))
print(json.dumps({"wall": time.monotonic() - start, "cpu": time.process_time() - cpu}))
"""
BUSY = "while True: pass"


@contextmanager
def busy(processes: int):
    """So many processes that do nothing else."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measure(policy: dict[str, str], steps: int) -> dict[str, float]:
    """Wall and CPU seconds of the training."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, "-c", WORK, str(THREADS), str(steps)]
    done = subprocess.run(command, env={**clean, **policy}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=["default", "jobs"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    others = 2 * cores
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(options.repeats):
        for beside in (0, others):
            for name in options.policies:
                with busy(beside):
                    found.setdefault((name, beside), []).append(measure(POLICIES[name], options.steps))

    def median(name: str, beside: int, what: str) -> float:
        return statistics.median(run[what] for run in found[name, beside])

    share = THREADS * cores / (others + THREADS)
    first = options.policies[0]
    print(
        f"{cores} cores, {THREADS} threads, {others} busy processes; {options.steps} steps, {options.repeats} repeats"
    )
    print(f"| policy | alone, s | of {first} alone | beside, s | of fair | CPU |\n|{' --- |' * 6}")
    for name in options.policies:
        alone, beside = median(name, 0, "wall"), median(name, others, "wall")
        of_fair = beside / (median(name, 0, "cpu") / share)
        cpu = median(name, others, "cpu") / median(name, 0, "cpu")
        cells = [alone, alone / median(first, 0, "wall"), beside, of_fair, cpu]
        print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
