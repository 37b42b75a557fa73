"""Whether varc computes rightly on this machine's GPU: python tests/gpu/check.py [--device cpu] [--quick] [NAME ...].

One line for each check: ok, FAILED or skipped; its name; the figure and its bound. Ends with status 1 where one failed.
Needs torch and NumPy; what needs more is left out, and listed, where that is not installed: docs/gpu.md.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # tests/
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "benchmarks"))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # varc may not be installed

import torch
from agreement import bf16_predictions, cases, image_tokens, public_scores
from arithmetic import build, reductions, sentinels
from memory import many_pairs, out_of_memory
from outcome import Result, Setup, attempt
from processes import demo, two_processes

from varc.device import pick_device
from varc.errors import InputError

CHECKS: dict[str, Callable[[Setup], Iterator[Result]]] = {
    "build": build,
    "sentinels": sentinels,
    "reductions": reductions,
    "cases": cases,
    "d16": public_scores,
    "tokens": image_tokens,
    "bf16": bf16_predictions,
    "pairs": many_pairs,
    "memory": out_of_memory,
    "processes": two_processes,
    "demo": demo,
}


def line(result: Result) -> str:
    """A result as one line."""
    status = {True: "ok", False: "FAILED", None: "skipped"}[result.ok]
    return f"{status:8}{result.name:44}{result.figure}" + (f"   ({result.bound})" if result.bound else "")


def run(names: Sequence[str], setup: Setup) -> list[Result]:
    """The results of some checks, each printed as it comes."""
    results = []
    for name in names:
        start = time.monotonic()
        for result in attempt(name, lambda name=name: CHECKS[name](setup)):
            print(line(result), flush=True)
            results.append(result)
        print(f"{'':8}{name}: {time.monotonic() - start:.0f} s", flush=True)
        gc.collect()
        torch.cuda.empty_cache()
    return results


def summary(results: Sequence[Result]) -> str:
    """How many checks there were, and those that were not made or failed."""
    failed, skipped = ([r for r in results if r.ok is ok] for ok in (False, None))
    good = len(results) - len(failed) - len(skipped)
    text = f"{good} ok, {len(failed)} failed, {len(skipped)} skipped"
    return "\n".join([text, *map(line, [*skipped, *failed])])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small shapes, for developing without a card")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CHECKS))
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(CHECKS):
        parser.error(f"{', '.join(sorted(unknown))}: no such check; there are {', '.join(CHECKS)}")
    try:
        setup = Setup(pick_device(options.device), options.quick)
    except InputError as problem:
        print(f"FAILED  {problem}")
        return 1
    results = run(options.names or list(CHECKS), setup)
    print(summary(results))
    return int(any(result.ok is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
