"""Configs as types, without Snakemake."""

from pathlib import Path

import yaml

from workflow.config.study import Config, read_config
from workflow.start import Study, start

ROOT = Path(__file__).parents[1]
DIGITS = yaml.safe_load((ROOT / "config" / "digits.yaml").read_text())


def read(config) -> Config:
    """A config from what a file would hold."""
    return read_config(config)


def begun(config) -> Study:
    """A run, and what rules ask of it."""
    return start([], config)
