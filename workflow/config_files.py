"""What can be wrong with a config before its schema is asked: keys given twice, numbers that are none."""

import math

import yaml

MERGE = "tag:yaml.org,2002:merge"  # the key <<, which may stand in a mapping several times


def config_mistake(files, config):
    """What is wrong with the config files, or with the config that was read from them; None where nothing is."""
    for path in files:
        with open(path, encoding="utf-8") as file:
            if mistake := repeated_key(yaml.compose(file, Loader=yaml.SafeLoader)):
                return mistake
    return odd_number(config)


def repeated_key(node, where=""):
    """The first key that a mapping of a YAML document has twice, of which all but the last would be lost; or None."""
    if isinstance(node, yaml.SequenceNode):
        return first(repeated_key(item, f"{where}{i}: ") for i, item in enumerate(node.value))
    if not isinstance(node, yaml.MappingNode):
        return None
    seen = set()
    for key, value in node.value:
        if key.tag != MERGE and key.value in seen:
            return f"{where}{key.value} is given twice, at line {key.start_mark.line + 1} again; take one of them away"
        seen.add(key.value if isinstance(key.value, str) else None)
        if mistake := repeated_key(value, f"{where}{key.value}: "):
            return mistake
    return None


def odd_number(value, where=""):
    """The first number of a config that is not finite, which no comparison in a schema would find; or None."""
    if isinstance(value, dict):
        return first(odd_number(item, f"{where}{key}: ") for key, item in value.items())
    if isinstance(value, list):
        return first(odd_number(item, f"{where}{i}: ") for i, item in enumerate(value))
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where}{value} is no finite number"
    return None


def first(found):
    """The first that is not None, or None."""
    return next((one for one in found if one is not None), None)
