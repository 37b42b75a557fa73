"""What a check says: one Result a line."""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch

PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}  # by the module's name, where it is another
OURS = ("varc", "device", "snakemake_runs", "random_models", "card")


class Setup(NamedTuple):
    """What the checks run on. quick: small shapes, for developing without a card."""

    device: torch.device
    quick: bool


class Result(NamedTuple):
    """One line: a figure, and the bound that it must keep. ok is None where the check could not be made."""

    name: str
    ok: bool | None
    figure: str
    bound: str = ""


class Skipped(Exception):
    """A check that cannot be made here, and why."""


def at_most(name: str, value: float, bound: float, unit: str = "") -> Result:
    """A figure that must not exceed its bound; NaN does."""
    return Result(name, value <= bound, f"{value:.2g}{unit}", f"at most {bound:.2g}{unit}")


def needs_card(setup: Setup) -> None:
    """Raises Skipped on the CPU."""
    if setup.device.type != "cuda":
        raise Skipped("needs a card")


def attempt(name: str, check: Callable[[], Iterable[Result]]) -> Iterator[Result]:
    """The results of a check; an error is one that is not ok, a package that is missing here leaves it out."""
    try:
        yield from check()
    except Skipped as reason:
        yield Result(name, None, str(reason))
    except ModuleNotFoundError as missing:
        module = str(missing.name).partition(".")[0]
        yield failed(name, missing) if module in OURS else Result(name, None, f"needs {PACKAGES.get(module, module)}")
    except Exception as problem:
        yield failed(name, problem)


def failed(name: str, problem: Exception) -> Result:
    """An error, whose traceback goes to stderr."""
    traceback.print_exception(problem, file=sys.stderr)
    return Result(name, False, f"{type(problem).__name__}: {str(problem).partition(chr(10))[0][:200]}", "no error")
