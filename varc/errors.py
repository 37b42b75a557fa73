"""The one exception for mistakes that a user can mend."""


def in_one_line(text: str) -> str:
    """A text with all characters spelled out that no terminal shows: names from elsewhere, and what libraries say of a
    damaged file, cannot break a message, or the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class InputError(ValueError):
    """A bad config, file or option: the message names it, what was found, what was expected, and what to do. It is one
    line."""

    def __init__(self, message: str):
        super().__init__(in_one_line(message))
