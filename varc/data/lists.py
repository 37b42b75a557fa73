"""Text files that list something, a line each, and the names in them, as users write them."""

import re
import unicodedata
from pathlib import Path

from varc.bounded import LARGEST_LIST, read_text
from varc.errors import InputError
from varc.lookalike import beginning, lookalike


def nfc(name: str) -> str:
    """A name as names are compared: a letter and its accent may be written as one character or as two."""
    return unicodedata.normalize("NFC", name)


def read_list(path: str | Path, what: str, key: str) -> list[str]:
    """The lines of a text file in UTF-8, without a byte order mark. Raises InputError where it cannot be read."""
    if (known := lookalike(beginning(path))) is not None:
        raise InputError(f"{path}: {what} cannot be read ({known.what}); {known.remedy}")
    try:
        return re.split("\r\n|\r|\n", read_text(path, LARGEST_LIST))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {what} cannot be read ({error}); set {key} to the file, in UTF-8") from None
