"""Make the pages of the report: one for each table and picture, and the front page."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import yaml
from job import job

import varc
from varc.files import write_text
from varc.report.front import Made, front
from varc.report.page import page


def commit_of(folder):
    """The commit that a run was made with, as its record says; None without one."""
    record = folder / "config.yaml"
    return yaml.safe_load(record.read_text(encoding="utf-8"))["made_with"]["commit"] if record.is_file() else None


def made(files, folder):
    """How the run was made."""
    when = datetime.fromtimestamp(Path(files.accuracy).stat().st_mtime, UTC).strftime("%d %B %Y, %H:%M UTC")
    devices = sorted(pd.read_csv(files.cost)["device"].unique())
    return Made(when, devices, varc.__version__, commit_of(folder))


with job(snakemake) as log:
    files, params = snakemake.input, snakemake.params
    for shown in params.contents:
        csv, markdown, picture = (Path(shown[key]) if shown[key] else None for key in ("csv", "markdown", "picture"))
        # The first paragraph of a table as Markdown says what its columns are.
        columns = markdown.read_text(encoding="utf-8").split("\n\n", 1)[0] if markdown else ""
        caption = Path(shown["caption"]).read_text(encoding="utf-8")
        write_text(shown["file"], page(shown["title"], caption, picture, csv, columns))
    accuracy = pd.read_csv(files.accuracy)
    names = accuracy[["dataset", "classifier"]].apply(tuple, axis=1)
    rows = accuracy[names.isin(list(map(tuple, params.pairs)))]
    plots = [(shown["title"], Path(shown["picture"])) for shown in params.contents if shown["in_front"]]
    listed = [(shown["category"], shown["title"], shown["file"]) for shown in params.contents]
    front_page = Path(snakemake.output.front)
    write_text(front_page, front(snakemake.wildcards.run, rows, made(files, front_page.parents[1]), plots, listed))
    log.info("%d pages", len(listed) + 1)
