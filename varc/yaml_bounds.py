"""How large a YAML text is, once its aliases are followed: a few lines may stand for more than any memory holds."""

from pathlib import Path

import yaml

from varc.bounded import read_text

LARGEST_TEXT, MOST_NODES, DEEPEST = 2**20, 100_000, 50  # bytes, nodes and levels of a config
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def unbounded(text: str) -> str | None:
    """What of a YAML text is out of bounds: nodes with aliases followed, levels, or an alias within what it stands for;
    None where nothing is. Takes time and memory by the length of the text. Raises yaml.YAMLError."""
    anchored: dict[str, tuple[int, int]] = {}  # nodes and levels of what an alias stands for
    unended: list[str | None] = []  # anchors of the collections that the event lies in
    sizes: list[list[int]] = [[0, 0]]  # of these: nodes so far, and levels below
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in unended:
                return f"the alias *{event.anchor} stands within what it stands for"
            nodes, levels = anchored.get(event.anchor, (1, 1))
        elif isinstance(event, yaml.CollectionStartEvent):
            unended.append(event.anchor)
            anchored.pop(event.anchor or "", None)
            sizes.append([1, 0])
            nodes, levels = 0, 0
        elif isinstance(event, yaml.CollectionEndEvent):
            nodes, below = sizes.pop()
            levels, anchor = below + 1, unended.pop()
            anchored |= {anchor: (nodes, levels)} if anchor else {}
        elif isinstance(event, yaml.ScalarEvent):
            nodes, levels = 1, 1
            anchored |= {event.anchor: (1, 1)} if event.anchor else {}
        else:
            continue
        sizes[-1][0] += nodes
        sizes[-1][1] = max(sizes[-1][1], levels)
        if sizes[-1][0] > MOST_NODES:
            return f"it stands for more than {MOST_NODES} nodes, once aliases are followed"
        if len(unended) + levels > DEEPEST:
            return f"it is nested more than {DEEPEST} deep"
    return None


def read_bounded(path: str | Path) -> str:
    """The text of a YAML file. Raises ValueError where it is out of bounds, OSError and yaml.YAMLError."""
    text = read_text(path, LARGEST_TEXT)
    if found := unbounded(text):
        raise ValueError(found)
    return text
