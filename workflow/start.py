"""The start of a run: its config read, its number of shards known."""

from collections.abc import Iterable
from typing import Any

from workflow.config.entry import ConfigError
from workflow.config.files import file_mistake
from workflow.config.study import read_config
from workflow.plan import Plan, noted_shards
from workflow.run import Run

NO_RATE = (
    "shards: auto needs a rate; run `snakemake plan` with this config on the device that will compute, or set "
    "gflops_per_second"
)


def start(files: Iterable[str], given: Any) -> tuple[Run, bool]:
    """The run of a config, and whether its number of shards is known: for auto the one that the run began with, else
    what a plan's rates give. Raises ConfigError and InputError."""
    if mistake := file_mistake(files, given):
        raise ConfigError(mistake)
    run = Run(read_config(given))
    shards: int | None
    if run.config.shards == "auto":
        shards = noted_shards(run.path("shards.json")) or Plan(run).auto_shards()
    else:
        shards = run.config.shards
    run.shards = shards or 1
    run.checkpoints.vqvaes  # noqa: B018 (raises where two models give one file other settings)
    return run, shards is not None
