"""The pages of the report: which there are, what each is made from, and how it is called."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from workflow.run import Inputs, Run

CAPTIONS = Path(__file__).with_name("report")  # <kind>.rst: a title, and what is seen
CATEGORIES = {  # the report's menu -> kinds of pages, in the order of the front page
    "Accuracy": (
        "accuracy", "main", "main_paired", "per_class", "confusion", "calibration", "robustness", "robustness_paired",
        "ablation", "smoothing", "scale_weights", "incremental",
    ),
    "Cost": ("cost", "gflops", "pruning", "adaptive", "certified"),
    "Explanations": ("explanation", "contrast", "gallery", "contrast_gallery"),
    "Training": ("vqvae_curve", "var_curve", "finetune_curve", "samples"),
}  # fmt: skip
KINDS = [kind for kinds in CATEGORIES.values() for kind in kinds]
PICTURES = (".svg", ".png")
APART = ("confusion",)  # plots that are too large for the front page


class Pages:
    """A page for each table of a run, with the plot of its name, and for each picture that goes with no table.

    targets: of the whole config, which decide what there is. Pages are called as their files, without suffix; those of
    tables without folder.
    """

    def __init__(self, run: Run, targets: Iterable[str]):
        self.run = run
        self.tables: dict[str, str] = {}  # page -> CSV
        self.pictures: dict[str, str] = {}  # page -> picture
        for file in targets:
            name = PurePosixPath(file).relative_to(run.folder)
            page = name.stem if name.parts[0] == "tables" else str(name.with_name(name.stem))
            if name.suffix == ".csv":
                self.tables[page] = file
            elif name.suffix in PICTURES:
                self.pictures[page] = file
        self.names = sorted({*self.tables, *self.pictures}, key=lambda page: (KINDS.index(kind_of(page)), page))

    def file(self, page: str, run: str = "") -> str:
        """The file of a page. run: what stands for the run in it, in rules a wildcard."""
        return f"results/{run or self.run.config.run}/report/{page}.html"

    def targets(self) -> list[str]:
        """All pages, and the front page."""
        return [self.file(page) for page in [*self.names, "front"]]

    def inputs(self) -> Inputs:
        """What pages are made from: accuracy, and on which devices it was measured, for the front page; tables as CSV
        and as Markdown, which says what the columns are; pictures; captions."""
        known = {"accuracy": self.run.table("accuracy.csv"), "cost": self.run.table("cost.csv")}
        tables = [file for csv in self.tables.values() for file in (csv, markdown_of(csv))]
        captions = [self.caption(page) for page in self.names]
        return {**known, "tables": tables, "pictures": [*self.pictures.values()], "captions": captions}

    def contents(self) -> list[dict[str, Any]]:
        """What each page shows, in the order of the front page."""
        return [
            {
                "file": self.file(page),
                "category": self.category(page),
                "title": self.title(page),
                "caption": self.caption(page),
                "csv": self.tables.get(page),
                "markdown": markdown_of(self.tables[page]) if page in self.tables else None,
                "picture": self.pictures.get(page),
                "in_front": page in self.tables and page in self.pictures and page not in APART,
            }
            for page in self.names
        ]

    def caption(self, page: str) -> str:
        """The file with the title of pages of its kind, and what they show, as reStructuredText."""
        return os.path.relpath(CAPTIONS / f"{kind_of(page)}.rst")

    def title(self, page: str) -> str:
        """What a page says; of a picture also of what: model, or model and data set."""
        *folders, last = page.split("/")
        of = [*folders[1:], *([last] if kind_of(page) != last else [])]
        title = Path(self.caption(page)).read_text(encoding="utf-8").splitlines()[0]
        return ": ".join(filter(None, [title, ", ".join(of)]))

    def category(self, page: str) -> str:
        return next(category for category, kinds in CATEGORIES.items() if kind_of(page) in kinds)


def markdown_of(csv: str) -> str:
    """The Markdown beside a table."""
    return f"{csv.removesuffix('.csv')}.md"


def kind_of(page: str) -> str:
    """What a page shows, as captions are called: tables, curves and samples by name, galleries by their place."""
    parts = page.split("/")
    if parts[0] != "gallery":
        return parts[-1]
    return "gallery" if len(parts) == 3 else "contrast_gallery"
