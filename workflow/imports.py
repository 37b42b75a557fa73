"""Which files of the project a script's result depends on: all that it imports, found by reading the imports."""

import ast
import functools
import os
from pathlib import Path


def code_inputs(script, root):
    """The project's own files that a script imports, directly or not, relative to the working folder.

    script: its path relative to root, the folder that holds scripts/ and varc/. Rules take these files as inputs, so
    an edit reruns what depends on it, and nothing else.
    """
    found, queue = set(), [Path(root) / script]
    while queue:
        for path in imported(queue.pop(), Path(root)):
            if path not in found:
                found.add(path)
                queue.append(path)
    return sorted(Path(os.path.relpath(path)).as_posix() for path in found)


@functools.cache
def imported(file, root):
    """The project's files that one file imports by itself, with the packages that they lie in."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {path for name in names for path in module_files(name, file, root)}


def module_files(name, file, root):
    """The files of a dotted module name below root (or beside the script), packages included; empty for others."""
    parts = name.split(".")
    folder = file.parent if parts[0] != "varc" else root
    for i in range(1, len(parts) + 1):
        base = folder.joinpath(*parts[:i])
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                yield path
