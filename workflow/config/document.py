"""What the types say, for people and editors: `python -m workflow.config.document` (make schema) writes the JSON
schema, and the table of keys in config/README.md. Meanings are the docstrings below the keys."""

import ast
import functools
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic_core import PydanticUndefined

from workflow.config.entry import Entry, Spread
from workflow.config.study import Config

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.json"
README = ROOT / "config/README.md"
BEGIN, END = "<!-- made by `make schema` -->\n", "<!-- end of the keys -->\n"
NAME = "\\<name\\>"  # that a user chooses
Keys = tuple[str, ...]


@functools.cache
def meanings(kind: type[Entry]) -> dict[str, str]:
    """Key -> the docstring below its field, those of base classes included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not (isinstance(base, type) and issubclass(base, Entry)):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                name = field.target.id  # type: ignore[union-attr]
                found[kind.model_fields[name].alias or name] = " ".join(str(text.value.value).split())
    return found


def entries(annotation: Any) -> list[type[Entry]]:
    """The tables that a field may hold, directly, in a list, or under names that a user chooses; not a spread."""
    if inspect.isclass(annotation):
        return [annotation] if issubclass(annotation, Entry) and annotation is not Spread else []
    return [kind for part in get_args(annotation) for kind in entries(part)]


def named(annotation: Any) -> bool:
    """Whether a field holds tables under names that a user chooses."""
    return get_origin(annotation) is dict or any(named(part) for part in get_args(annotation))


def fields(kind: type[Entry] = Config, above: Keys = ()) -> Iterator[tuple[Keys, type[Entry], Any]]:
    """Where each key stands, the table that has it, and its field."""
    for name, field in kind.model_fields.items():
        key = (*above, field.alias or name)
        yield key, kind, field
        for inside in entries(field.annotation):
            yield from fields(inside, (*key, NAME) if named(field.annotation) else key)


def rows(kind: type[Entry]) -> Iterator[tuple[Keys, str, str]]:
    """Per key: where it stands, what it means, and what it is by default. A key of several kinds of tables, such as
    readers, is told once."""
    seen: set[Keys] = set()
    for key, table, field in fields(kind):
        inside = entries(field.annotation)
        text = meanings(table).get(key[-1]) or (own_doc(inside[0]) if len(inside) == 1 else "")
        if text and key not in seen:
            seen.add(key)
            meaning, _, without = text.rstrip(".").partition("; default: ")
            yield key, f"{meaning}.", without or default(field)


def own_doc(kind: type) -> str:
    """The docstring of a class itself, in one line."""
    return " ".join((kind.__dict__.get("__doc__") or "").split())


def default(field: Any) -> str:
    """What a key is where it is not given."""
    if field.is_required():
        return "required"
    value = field.default_factory() if field.default_factory else field.default
    return "" if value in (None, [], {}, PydanticUndefined) else json.dumps(value).strip('"')


def keys() -> set[Keys]:
    """All keys that a config may have, without the names that a user chooses: those of a table, and not the table
    itself, but where a name may stand in its place."""
    found = (key for key, _, field in fields() if not entries(field.annotation) or str in plain(field.annotation))
    return {tuple(part for part in key if part != NAME) for key in found}


def plain(annotation: Any) -> list[Any]:
    """The types other than tables that a field may have itself, rather than in a list or by name."""
    if get_origin(annotation) in (list, dict) or inspect.isclass(annotation):
        return [] if get_origin(annotation) in (list, dict) else [annotation]
    return [kind for part in get_args(annotation) for kind in plain(part)]


def table() -> str:
    """The keys, in Markdown."""
    lines = ["| key | meaning | default |", "| --- | --- | --- |"]
    lines += [
        f"| {': '.join(key)} | {text.replace('|', chr(92) + '|')} | {value} |" for key, text, value in rows(Config)
    ]
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema of a config, with the meanings of its keys."""
    found = Config.model_json_schema(by_alias=True)
    told = {kind.__name__: kind for _, kind, _ in fields()}
    for name, node in [(Config.__name__, found), *found["$defs"].items()]:
        for key, text in meanings(told[name]).items() if name in told else ():
            node["properties"][key]["description"] = text
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def with_table(text: str) -> str:
    """config/README.md with the table of keys as it is now."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def main() -> None:
    SCHEMA.write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n")
    README.write_text(re.sub(r"\n{3,}", "\n\n", with_table(README.read_text())))


if __name__ == "__main__":
    main()
