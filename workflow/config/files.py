"""What can be wrong with a config before its types are asked: its size, what it would do to a terminal, keys given
twice or without a value, no real numbers.

Snakemake reads the files of --configfile before any of this: python -m workflow.config.files FILE looks at one from
elsewhere first.
"""

import math
import sys
from collections.abc import Iterable
from typing import Any

import yaml

from varc.bounded import read_text
from varc.errors import HIDDEN, InputError, brief
from varc.yaml_bounds import DEEPEST, LARGEST_TEXT, LOADER, MOST_NODES, unbounded
from workflow.config.entry import ConfigError

MERGE = "tag:yaml.org,2002:merge"  # the key <<, which may stand in a mapping several times
LARGEST_NUMBER = 2**53  # beyond it not all whole numbers are told apart as floats
TEMPLATE = "__use_yte__"  # the key of a config that is a program


def file_mistake(files: Iterable[str], config: Any) -> str | None:
    """What is wrong with the config files, or with the config that was read from them; None where nothing is."""
    for path in files:
        if mistake := repeated_key(read_node(path)):
            return mistake
    return odd_value(config)


def read_node(path: str) -> Any:
    """A config file as YAML's nodes. Raises ConfigError where it cannot be read, or is out of bounds."""
    try:
        text = read_text(path, LARGEST_TEXT)
        if found := unbounded(text):
            raise ValueError(found)
        return yaml.compose(text, Loader=LOADER)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: is no config that can be read ({error}); write it as plain YAML") from None


def repeated_key(node: Any, where: str = "") -> str | None:
    """The first key that a mapping of a YAML document has twice, of which all but the last would be lost; or None."""
    if isinstance(node, yaml.SequenceNode):
        return first(repeated_key(item, f"{where}{i}: ") for i, item in enumerate(node.value))
    if not isinstance(node, yaml.MappingNode):
        return None
    seen: set[str | None] = set()
    for key, value in node.value:
        if key.tag != MERGE and key.value in seen:
            return f"{where}{key.value} is given twice, at line {key.start_mark.line + 1} again; take one of them away"
        seen.add(key.value if isinstance(key.value, str) else None)
        if mistake := repeated_key(value, f"{where}{key.value}: "):
            return mistake
    return None


def odd_value(config: Any) -> str | None:
    """The first key of a config whose value its types would take otherwise than it is meant; or None.

    That is no value, which would not take its default; a number that is not finite, which no comparison would find, or
    of more digits than a computer's; text that would steer a terminal; and more than a config can mean, by what
    --config gives.
    """
    waiting, seen = [("", config, 0)], 0
    while waiting:
        where, value, depth = waiting.pop()
        seen += 1
        if seen > MOST_NODES or depth > DEEPEST:
            return f"{where}more than {MOST_NODES} values, or nested more than {DEEPEST} deep; give fewer"
        if isinstance(value, dict):
            if hidden := next((key for key in value if HIDDEN.search(str(key))), None):
                return f"{where}{brief(hidden)} is a key with characters that are not to be seen; write it anew"
            waiting += [(f"{where}{key}: ", item, depth + 1) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            waiting += reversed([(f"{where}{i}: ", item, depth + 1) for i, item in enumerate(value)])
        elif mistake := odd_scalar(value):
            return where + mistake
    return None


def odd_scalar(value: Any) -> str | None:
    """What is wrong with a value that is no table and no list; None where nothing is."""
    if value is None:
        return "has no value; give one, or take the key away"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no finite number"
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return f"{brief(value)} is beyond {LARGEST_NUMBER}; give a smaller number"
    if isinstance(value, str) and HIDDEN.search(value):
        return f"{brief(value)} has characters that are not to be seen, as line breaks or escapes; write it anew"
    return None


def first(found: Iterable[str | None]) -> str | None:
    """The first that is not None, or None."""
    return next((one for one in found if one is not None), None)


def check(path: str) -> None:
    """Raises ConfigError where Snakemake should not read a file: out of bounds, keys twice, a program."""
    node = read_node(path)
    keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    if TEMPLATE in keys:
        raise ConfigError(f"{path}: {TEMPLATE} makes it a program, which Snakemake runs as it reads it; read it first")
    if mistake := repeated_key(node):
        raise ConfigError(f"{path}: {mistake}")


if __name__ == "__main__":
    try:
        for given in sys.argv[1:]:
            check(given)
    except InputError as mistaken:
        sys.exit(f"error: {mistaken}")
