"""The table "What makes a job rerun" of config/README.md: `python tests/rerun_table.py` writes it (make rerun-table).

For every key of the types the config rerun_keys.yaml has two values. What reruns when the second one replaces the first
follows from the graphs of jobs with either (job_graph.py); dry runs over jobs that are marked as done are its control.
"""

import copy
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from job_graph import Job, jobs, rerun
from snakemake_runs import ROOT, copy_project, plan, snakemake, write_config

from varc.seal import MAGIC

README = ROOT / "config" / "README.md"
KEYS = Path(__file__).with_name("rerun_keys.yaml")
BEGIN, END = "<!-- made by `make rerun-table` -->\n", "<!-- end of the table -->\n"
FILES = ["published.csv", "other.csv", "labels.txt", "labels2.txt", "ids.txt", "ids2.txt", "data/0.tar", "data2/0.tar"]
FILES += ["vit/model.safetensors", "vit2/model.safetensors", "vq.pt", "vq2.pt", "gpt.pt", "gpt2.pt"]
WEIGHTS = ("vae.pth", "var.pth", "vae2.pth", "var2.pth")  # the others come from a hub
REFUSED = {"shards": "none: refused, choose another `run`"}


class Either(NamedTuple):
    """The two values of a key."""

    first: Any
    second: Any


class Loader(yaml.SafeLoader):
    """YAML with !either."""


Loader.add_constructor("!either", lambda loader, node: Either(*loader.construct_sequence(node, deep=True)))


def read_keys() -> Any:
    """The config that has every key, with Either where it has two values."""
    return yaml.load(KEYS.read_text(), Loader)


def changes(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Either]:
    """Where a config has two values."""
    if isinstance(value, Either):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {found: either for key, part in items for found, either in changes(part, (*path, key)).items()}


def resolved(value: Any, second: tuple[Any, ...] | None, path: tuple[Any, ...] = ()) -> Any:
    """The config with the first value of every key, but for the one at the path `second`."""
    if isinstance(value, Either):
        return copy.deepcopy(value.second if path == second else value.first)
    if isinstance(value, dict):
        return {key: resolved(part, second, (*path, key)) for key, part in value.items()}
    if isinstance(value, list):
        return [resolved(part, second, (*path, i)) for i, part in enumerate(value)]
    return value


NAMED = ("datasets", "models", "baselines", "classifiers", "judges")  # whose keys are names that a user chooses


def key_of(path: tuple[Any, ...]) -> tuple[str, ...]:
    """A path without names and positions, e.g. ("models", "train", "data")."""
    kept = [part for part in path if isinstance(part, str)]
    return tuple(part for i, part in enumerate(kept) if not (i == 1 and kept[0] in NAMED))


def with_files(folder: Path) -> Path:
    """A folder with files that stand for the data and weights of the config."""
    for name in (*FILES, *WEIGHTS):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    for i, name in enumerate(("pairs.csv", "pairs2.csv")):
        (folder / name).write_text(f"image_id,target,against,counterpart\na,{i},{i + 1},b\n")
    for name in ("classes.csv", "classes2.csv"):
        (folder / name).write_text(f"folder,class_id,name\na,0,{name}\nb,1,B\n")
    return folder


def finished(folder: Path, config: Any) -> Path:
    """A project in which every job of the config counts as done, and none was run."""
    project = with_files(copy_project(folder / "project"))
    arguments = ["--configfile", write_config(project, resolved(config, None))]
    make_empty(project, plan(project, *arguments).files)
    (folder / "graph").mkdir()
    lay_scores(project, jobs(with_files(folder / "graph"), resolved(config, None)))
    done = snakemake(project, "--touch", "--no-hooks", "--forceall", *arguments)
    assert done.code == 0, done.output
    left = plan(project, *arguments).jobs
    assert not left, left
    return project


def make_empty(folder: Path, files: Iterable[str]) -> None:
    """Empty files in the place of those that jobs make."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")


def lay_scores(folder: Path, made: Iterable[Job]) -> None:
    """In the place of the files of scores that jobs make, what a plan looks at: a footer with their recipe."""
    for job in (job for job in made if job.rule == "score"):
        for recipe in (found[1] for text in job.params if (found := re.fullmatch("'([0-9a-f]{64})'", text))):
            footer = f'"recipe": "{recipe}"'.encode()
            content = footer + len(footer).to_bytes(4, "little") + MAGIC
            for file in job.outputs:
                (folder / file).write_bytes(content)


def done_jobs(folder: Path, config: Any) -> list[Job]:
    """All jobs of the config in an empty folder, where each of them has made its files."""
    first = resolved(config, None)
    found = jobs(with_files(folder), first)
    make_empty(folder, (file for job in found for file in job.outputs))
    lay_scores(folder, found)
    return jobs(folder, first)


def in_order(rules: Iterable[str]) -> list[str]:
    """Rules in the order of their files."""
    return [rule for rule in all_rules() if rule in rules]


def all_rules() -> list[str]:
    """All rules, in the order in which the Snakefile includes them."""
    files = re.findall(r'^include: "(.*)"$', (ROOT / "workflow/Snakefile").read_text(), re.M)
    return [
        rule for file in files for rule in re.findall(r"^rule (\w+):$", (ROOT / "workflow" / file).read_text(), re.M)
    ]


def reruns(folder: Path, config: Any) -> dict[tuple[Any, ...], list[str]]:
    """The rules whose jobs rerun, for every path at which a config has two values."""
    before = done_jobs(folder, config)
    paths = [path for path in changes(config) if path[-1] not in REFUSED]
    return {path: in_order(rerun(before, jobs(folder, resolved(config, path)))) for path in paths}


def table() -> str:
    """The table in Markdown. Neighbouring keys of one mapping that rerun the same rules share a row."""
    config = read_keys()
    rows: list[tuple[tuple[str, ...], list[str], str]] = []
    with tempfile.TemporaryDirectory() as folder:
        found = reruns(Path(folder), config)
    for path in changes(config):
        *above, key = key_of(path)
        text = REFUSED.get(key) or ", ".join(f"`{rule}`" for rule in found[path]) or "none"
        if rows and (rows[-1][0], rows[-1][2]) == (tuple(above), text):
            rows[-1][1].append(key)
        else:
            rows.append((tuple(above), [key], text))
    lines = ["| change of | rules that rerun |", "| --- | --- |"]
    lines += [
        f"| {': '.join([*above, ''])}{', '.join(f'`{key}`' for key in keys)} | {rules} |" for above, keys, rules in rows
    ]
    return "\n".join(lines) + "\n"


def written() -> str:
    """The table as config/README.md has it."""
    return README.read_text().partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    README.write_text(before + BEGIN + table() + END + rest.partition(END)[2])


if __name__ == "__main__":
    sys.exit(main())
