"""The start of a run: its config read, its number of shards known, and what its rules ask."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from workflow.config.entry import ConfigError
from workflow.config.files import file_mistake
from workflow.config.study import read_config
from workflow.explaining import Explaining
from workflow.jobs import Jobs
from workflow.learning import Learning
from workflow.plan import Plan
from workflow.run import Run
from workflow.tables import Tables


class Study(NamedTuple):
    """A run, and what of it is asked."""

    run: Run
    jobs: Jobs
    explaining: Explaining
    learning: Learning
    tables: Tables
    plan: Plan
    shards_known: bool


def start(files: Iterable[str], given: Any) -> Study:
    """The run of a config. Its number of shards is the config's; for auto the one that the run began with, else what a
    plan's rates give; where nothing tells, 1, with which a plan can be made. Raises ConfigError and InputError."""
    if mistake := file_mistake(files, given):
        raise ConfigError(mistake)
    run = Run(read_config(given))
    plan, wanted = Plan(run), run.config.shards
    shards = (noted_shards(run.path("shards.json")) or plan.auto_shards()) if wanted == "auto" else wanted
    run.shards = shards or 1
    run.checkpoints.vqvaes  # noqa: B018 (raises where two models give one file other settings)
    return Study(run, Jobs(run), Explaining(run), Learning(run), Tables(run), plan, shards is not None)


def noted_shards(note: str) -> int | None:
    """The number of shards that a run began with, from the file that it left; None where it has not begun, and where
    the file is damaged: a real run stops then (workflow.sources.unfit_folder), and a plan needs no such file."""
    try:
        with open(note, encoding="utf-8") as file:
            return json.load(file)["shards"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
