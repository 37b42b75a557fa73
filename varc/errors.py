"""The one exception for mistakes that a user can mend."""


class InputError(ValueError):
    """A bad config, file or option: the message names it, what was found, what was expected, and what to do."""
