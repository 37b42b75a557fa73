"""The one exception for mistakes that a user can mend, and how text from elsewhere and numbers of things are shown."""

import re
from typing import Any

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal, turn the direction of what is read, or end a line; halves of a character."""
LONGEST_SHOWN = 200  # characters of a value in a message


def in_one_line(text: str) -> str:
    """A text with all characters spelled out that no terminal shows: names from elsewhere, and what libraries say of a
    damaged file, cannot break a message, or the terminal. All messages, logs and cells of tables go through it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def brief(value: Any) -> str:
    """A value as Python writes it, its middle left out where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a number of too many digits
        text = "a number of thousands of digits"
    return shortened(text)


def shortened(text: str) -> str:
    """A text, its middle left out where it is long."""
    half = LONGEST_SHOWN // 2
    return text if len(text) <= LONGEST_SHOWN else f"{text[:half]}... ({len(text)} characters) ...{text[-half:]}"


class InputError(ValueError):
    """A bad config, file or option: the message names it, what was found, what was expected, and what to do. It is one
    line."""

    def __init__(self, message: str):
        super().__init__(in_one_line(message))


def counted(n: Any, noun: str) -> str:
    """1 scale, 1,000 scales."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
