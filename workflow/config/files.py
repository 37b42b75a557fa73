"""What can be wrong with a config before its types are asked: keys given twice or without a value, no real numbers."""

import math
from collections.abc import Iterable
from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"  # the key <<, which may stand in a mapping several times


def file_mistake(files: Iterable[str], config: Any) -> str | None:
    """What is wrong with the config files, or with the config that was read from them; None where nothing is."""
    for path in files:
        with open(path, encoding="utf-8") as file:
            if mistake := repeated_key(yaml.compose(file, Loader=yaml.SafeLoader)):
                return mistake
    return odd_value(config)


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


def odd_value(value: Any, where: str = "") -> str | None:
    """The first key of a config that has no value, which would not take its default, or a number that is not finite,
    which no comparison would find; or None."""
    if isinstance(value, dict):
        return first(odd_value(item, f"{where}{key}: ") for key, item in value.items())
    if isinstance(value, list):
        return first(odd_value(item, f"{where}{i}: ") for i, item in enumerate(value))
    if value is None:
        return f"{where}has no value; give one, or take the key away"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where}{value} is no finite number"
    return None


def first(found: Iterable[str | None]) -> str | None:
    """The first that is not None, or None."""
    return next((one for one in found if one is not None), None)
