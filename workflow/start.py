"""The start of a run: its config read, its number of shards known, and what its rules ask."""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from varc.errors import InputError
from varc.models.architectures import PATCH_NUMS_512
from varc.models.headers import positions
from varc.seal import read_json
from workflow.checkpoints import Checkpoints
from workflow.config.entry import ConfigError
from workflow.config.files import file_mistake, hidden_text
from workflow.config.models import PublicModel
from workflow.config.study import Config, read_config
from workflow.explaining import Explaining
from workflow.jobs import Jobs
from workflow.learning import Learning
from workflow.plan import Plan
from workflow.record import without_record
from workflow.run import Run
from workflow.sources import check_kinds, digest_as_begun, read_as_begun
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


def start(files: Iterable[str], given: Any, job: bool = False) -> Study:
    """The run of a config. Its number of shards is the config's; for auto the one that the run began with, else what a
    plan's rates give; where nothing tells, 1, with which a plan can be made. job: in the process of a job: weights,
    and the scores that others read, are expected as the run began. Raises ConfigError and InputError."""
    given = without_record(given)
    if mistake := file_mistake(files, given):
        raise ConfigError(mistake)
    config = read_config(given)
    if mistake := hidden_text(given):
        raise ConfigError(mistake)
    check_kinds(config, Checkpoints(config, "", lambda file: None).public_files)
    config = with_schedules(config)
    run = Run(config, 1, partial(digest_as_begun, config.run), read_as_begun(config.run)) if job else Run(config)
    plan, wanted = Plan(run), run.config.shards
    shards = (noted_shards(run.path("shards.json")) or plan.auto_shards()) if wanted == "auto" else wanted
    run.shards = shards or 1
    run.checkpoints.vqvaes  # noqa: B018 (raises where two models give one file other settings)
    return Study(run, Jobs(run), Explaining(run), Learning(run), Tables(run), plan, shards is not None)


def with_schedules(config: Config) -> Config:
    """The config with the patch_nums that no tensor of a VQ-VAE shows, but the number of positions of its VAR: those of
    the public models at 512 px. Others are told when weights are read, so that a file that comes changes no jobs."""
    models = dict(config.models)
    for name, model in models.items():
        if not isinstance(model, PublicModel) or model.architecture or model.patch_nums or not model.var:
            continue
        if positions(model.var) == sum(p * p for p in PATCH_NUMS_512):
            models[name] = model.model_copy(update={"patch_nums": list(PATCH_NUMS_512)})
    return config.model_copy(update={"models": models})


def noted_shards(note: str) -> int | None:
    """The number of shards that a run began with, from the file that it left; None where it has not begun, and where
    the file is damaged: a real run stops then (workflow.sources.unfit_folder), and a plan needs no such file."""
    try:
        return read_json(note)["shards"]
    except (InputError, KeyError):
        return None
