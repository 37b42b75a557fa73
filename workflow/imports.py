"""Which files of the project a script's result depends on: all that it imports, found by reading the imports.

A figure's style lies beside its module, under the same name.
"""

import ast
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

STAMPS = Path(".snakemake/varc_code")


def code_inputs(script: str, root: str) -> list[str]:
    """The project's own files that a script imports, directly or not, relative to the working folder.

    script: its path relative to root, the folder that holds scripts/ and varc/. Rules take the stamp of these files as
    an input, so an edit reruns what depends on it, and nothing else.
    """
    found: set[Path] = set()
    queue = [Path(root) / script]
    while queue:
        for path in imported(queue.pop(), Path(root)):
            if path not in found:
                found.add(path)
                queue.append(path)
    return sorted(Path(os.path.relpath(path)).as_posix() for path in found)


def reads_images(script: str, root: str) -> bool:
    """Whether a script reads the images of a data set."""
    return any(file.endswith("varc/data/readers.py") for file in code_inputs(script, root))


def script_stamp(script: str, root: str) -> str:
    """The stamp of the library files that a script's result depends on."""
    return code_stamp(script, code_inputs(f"scripts/{script}.py", root))


def family_stamp(family: str, root: str) -> str:
    """The stamp of what a rival family is made of: its own file, and all that it imports."""
    file = f"varc/baselines/{family}.py"
    return code_stamp(f"family_{family}", sorted({*code_inputs(file, root), os.path.relpath(f"{root}/{file}")}))


def code_stamp(name: str, files: Iterable[str]) -> str:
    """The path of a small file that stands for some of the project's files: their digests, and the time of the latest.

    Each input costs every job of a large graph time, so a rule takes this one in place of dozens. It is written where
    it is not as it should be.
    """
    stamp, content = STAMPS / name, "".join(f"{digest(file)}  {file}\n" for file in files)
    latest = max(os.stat(file).st_mtime_ns for file in files)
    if not stamp.is_file() or stamp.stat().st_mtime_ns != latest or stamp.read_text() != content:
        temporary = stamp.with_suffix(f".{os.getpid()}.tmp")
        STAMPS.mkdir(parents=True, exist_ok=True)
        temporary.write_text(content)
        os.utime(temporary, ns=(latest, latest))
        os.replace(temporary, stamp)
    return stamp.as_posix()


@functools.cache
def digest(file: str) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


@functools.cache
def imported(file: Path, root: Path) -> set[Path]:
    """The project's files that one file imports by itself, with the packages that they lie in."""
    names: set[str] = set()
    if file.suffix != ".py":
        return set()
    for node in run_time(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {path for name in names for path in module_files(name, file, root)}


def run_time(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but for what only a type checker reads: no result depends on that."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children = iter(node.orelse)
    for child in children:
        yield from run_time(child)


def module_files(name: str, file: Path, root: Path) -> Iterator[Path]:
    """The files of a dotted module name below root (or beside the script), packages included; empty for others."""
    parts = name.split(".")
    folder = file.parent if parts[0] != "varc" else root
    for i in range(1, len(parts) + 1):
        base = folder.joinpath(*parts[:i])
        for path in (base / "__init__.py", base.with_suffix(".py"), base.with_suffix(".mplstyle")):
            if path.is_file():
                yield path
