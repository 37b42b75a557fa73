"""What can be wrong with a config before its types are asked: its size, what it would do to a terminal, keys given
twice or without a value, no real numbers.

Snakemake reads the files of --configfile before any of this: python -m workflow.config.files FILE looks at one from
elsewhere first.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from varc.errors import HIDDEN, InputError, brief
from varc.yaml_bounds import DEEPEST, LOADER, MOST_NODES, read_bounded
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
        return yaml.compose(read_bounded(path), Loader=LOADER)
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


def values(config: Any) -> Iterator[tuple[str, Any]]:
    """All keys and values of a config but tables and lists, each with where it stands. Raises ConfigError for more of
    them than a config can mean, as --config may give."""
    waiting, seen = [("", config, 0)], 0
    while waiting:
        where, value, depth = waiting.pop()
        seen += 1
        if seen > MOST_NODES or depth > DEEPEST:
            raise ConfigError(f"{where}more than {MOST_NODES} values, or nested more than {DEEPEST} deep; give fewer")
        if isinstance(value, dict):
            yield from ((where, key) for key in value)
            waiting += [(f"{where}{key}: ", item, depth + 1) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            waiting += reversed([(f"{where}{i}: ", item, depth + 1) for i, item in enumerate(value)])
        else:
            yield where, value


def odd_value(config: Any) -> str | None:
    """The first key of a config that has no value, which would not take its default, or a number that is not finite,
    which no comparison would find, or has more digits than a computer's; or None."""
    return first(where + mistake for where, value in values(config) if (mistake := odd_scalar(value)))


def hidden_text(config: Any) -> str | None:
    """The first text of a config that would steer a terminal, where its path is shown; or None."""
    texts = ((where, text) for where, text in values(config) if isinstance(text, str) and HIDDEN.search(text))
    found = "has characters that are not to be seen, as line breaks or escapes; write it anew"
    return first(f"{where}{brief(text)} {found}" for where, text in texts)


def odd_scalar(value: Any) -> str | None:
    """What is wrong with a value that is no table and no list; None where nothing is."""
    if value is None:
        return "has no value; give one, or take the key away"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no finite number"
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return f"{brief(value)} is beyond {LARGEST_NUMBER}; give a smaller number"
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
