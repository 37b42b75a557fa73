"""Make a page of the report: a table with its plot, or a picture."""

from pathlib import Path

from job import job

from varc.files import write_text
from varc.report.page import page

with job(snakemake):
    files, params = snakemake.input, snakemake.params
    picture, csv = (Path(files[name]) if files.get(name) else None for name in ("picture", "csv"))
    # The first paragraph of a table as Markdown says what its columns are.
    columns = Path(files.markdown).read_text(encoding="utf-8").split("\n\n", 1)[0] if csv else ""
    write_text(snakemake.output.page, page(params.title, params.caption, picture, csv, columns))
