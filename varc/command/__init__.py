"""The command `varc`: classify and explain pictures, compare and show runs.

Its exit status is 0 where all went well, 1 for a mistake in what it was given (one line on standard error), 2 for a
mistake in how it was called, 130 where it was interrupted.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from varc.command.arguments import parser
from varc.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit status; see varc.command. arguments: None for those of the process."""
    given = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = import_module(f"varc.command.{given.part}").run
    try:
        run(given)
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
