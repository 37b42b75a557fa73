"""Make the front page of the report."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import yaml
from job import job

import varc
from varc.files import write_text
from varc.report.front import Made, front


def commit_of(run):
    """The commit that a run was made with, as its record says; None without one."""
    record = Path(run) / "config.yaml"
    return yaml.safe_load(record.read_text(encoding="utf-8"))["made_with"]["commit"] if record.is_file() else None


with job(snakemake):
    files, params = snakemake.input, snakemake.params
    accuracy = pd.read_csv(files.accuracy)
    pairs = pd.MultiIndex.from_tuples(map(tuple, params.pairs))
    shown = accuracy[accuracy.set_index(["dataset", "classifier"]).index.isin(pairs)]
    when = datetime.fromtimestamp(Path(files.accuracy).stat().st_mtime, UTC).strftime("%d %B %Y, %H:%M UTC")
    devices = sorted(pd.read_csv(files.cost)["device"].unique())
    made = Made(when, devices, varc.__version__, commit_of(Path(snakemake.output.front).parents[1]))
    plots = zip(params.plotted, map(Path, files.plots), strict=True)
    write_text(snakemake.output.front, front(snakemake.wildcards.run, shown, made, plots, params.listed))
