"""What a run's folder says of itself: the config that made it, and in tables/ only what that config asks for."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

import varc
from varc.errors import InputError
from varc.files import write_text
from varc.seal import write_json
from workflow import classifiers
from workflow.config.models import PublicModel
from workflow.sources import begun, begun_with_scores, file_sha256, stamp

MADE_WITH = "made_with"  # the key of config.yaml that is none of a config
FILE = "config.yaml"


def without_record(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as its author wrote it: a run's config.yaml is one too, but for what it says of its making."""
    return {key: value for key, value in config.items() if key != MADE_WITH}


def record(run: Any, config: Mapping[str, Any], commit: str | None, sources: Mapping[str, str | None]) -> str:
    """The text of a run's config.yaml: its config as read from all files, and what it was made with."""
    again = f"# What {run.folder} was made with last; a config too: snakemake --configfile {run.path(FILE)}\n"
    made_with = {"version": varc.__version__, "commit": commit, "sources": {**sources}}
    plain = json.loads(json.dumps({MADE_WITH: made_with, **without_record(config)}, default=str))
    return again + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def sources(run: Any) -> dict[str, str | None]:
    """What a config points to -> its digest, None where it is absent: the SHA-256 of files, the stamp of data roots."""
    config, checkpoints = run.config, run.checkpoints
    files = {file for entry in config.datasets.values() for file in entry.lists()} | {config.published} - {None}
    files |= {entry.pairs for entry in config.explain if entry.pairs}
    found = {file: file_sha256(file) for file in files}
    found |= {root: stamp(entry) or None for root, entry in run.roots().items()}
    for name in checkpoints.used():
        entry = config.models[name]
        if isinstance(entry, PublicModel):
            found |= {file: checkpoints.sha256(name, part) for part, file in entry.files.items()}
    for name in config.baselines:
        found |= checkpoints.public_sha256(name)
    return dict(sorted(found.items()))


def git_commit(folder: str | Path) -> str | None:
    """The commit of the code in a folder, with -dirty where files that git knows were changed; None without git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    known = [*command[:3], "ls-files", "--error-unmatch", "workflow/Snakefile"]  # and not of a folder around it
    try:
        subprocess.run(known, check=True, capture_output=True)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def write_record(path: str | Path, text: str) -> None:
    """Writes config.yaml where it says anything new. Raises InputError where it cannot be written."""
    try:
        if Path(path).read_text(encoding="utf-8") == text:
            return
    except (OSError, UnicodeDecodeError):
        pass  # absent or damaged
    write_text(path, text)


def asked_tables(run: Any, targets: Iterable[str]) -> set[str]:
    """The names in tables/ of what a whole config asks for: its targets, their Markdown, and the plan."""
    files = (os.path.split(file) for file in [*targets, run.table("plan.csv")])
    names = {name for folder, name in files if folder == run.path("tables")}
    return names | {f"{name.removesuffix('.csv')}.md" for name in names if name.endswith(".csv")}


def keep(
    run: Any, config: Mapping[str, Any], code: str | Path, outputs: Iterable[str], targets: Iterable[str]
) -> list[str]:
    """Writes config.yaml, classifiers.json, and the digests and scores that the run begins with; moves what the config
    does not ask for out of tables/, and returns its names.

    code: the folder of the code. outputs: of all rules. targets: of the whole config. Raises InputError where the run's
    folder cannot be written to.
    """
    found = sources(run)
    write_json(begun(run.config.run), found)
    write_json(begun_with_scores(run.config.run), run.prefixes.exceptions(run.shards))
    write_record(run.path(FILE), record(run, config, git_commit(code), found))
    write_json(run.path(classifiers.FILE), classifiers.record(run))
    parts = [os.path.split(file) for file in outputs]
    return set_aside(run, [name for folder, name in parts if os.path.basename(folder) == "tables"], targets)


def set_aside(run: Any, made: Iterable[str], targets: Iterable[str]) -> list[str]:
    """Moves what the config asks for no longer from tables/ to tables/stale/, and returns its names.

    made: all names that rules write there, so that a user's own files stay. targets: of the whole config. Raises
    InputError where a file cannot be moved.
    """
    tables = Path(run.path("tables"))
    stale = [name for name in sorted(set(made) - asked_tables(run, targets)) if (tables / name).is_file()]
    for name in stale:
        try:
            (tables / "stale").mkdir(exist_ok=True)
            os.replace(tables / name, tables / "stale" / name)
        except OSError as error:
            raise InputError(f"{tables / name}: cannot be moved to stale/ ({error}); allow it, or move it") from None
    return stale
