"""The pages of the report: which there are, what each is made from, and how it is called."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

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

    def file(self, page: str) -> str:
        return self.run.path(f"report/{page}.html")

    def targets(self) -> list[str]:
        """All pages, and the front page."""
        return [self.file(page) for page in [*self.names, "front"]]

    def page_inputs(self, page: str) -> Inputs:
        """What a page shows: its picture, if any; its table, if any, as CSV and as Markdown, which says what the
        columns are."""
        csv = self.tables.get(page)
        table = {"csv": csv, "markdown": f"{csv.removesuffix('.csv')}.md"} if csv else {}
        return {**table, "picture": self.pictures.get(page, [])}

    def front_inputs(self) -> Inputs:
        """What the front page shows: accuracy, on which devices, and the plots of tables."""
        plots = [self.pictures[page] for page in self.plotted()]
        return {**{name: self.run.table(f"{name}.csv") for name in ("accuracy", "cost")}, "plots": plots}

    def plotted(self) -> list[str]:
        """The pages of tables that have a plot, but for matrices, which take a page of their own."""
        return [page for page in self.names if page in self.tables and page in self.pictures and page != "confusion"]

    def listed(self) -> list[tuple[str, str, str]]:
        """Category, title and file of all pages."""
        return [(self.category(page), self.title(page), self.file(page)) for page in self.names]

    def caption(self, page: str) -> str:
        """The title of pages of its kind, and what they show, as reStructuredText."""
        return (CAPTIONS / f"{kind_of(page)}.rst").read_text(encoding="utf-8")

    def title(self, page: str) -> str:
        """What a page says; of a picture also of what: model, or model and data set."""
        *folders, last = page.split("/")
        of = folders[1:]
        if kind_of(page) != last:
            of.append(last)
        return ": ".join(filter(None, [self.caption(page).splitlines()[0], ", ".join(of)]))

    def category(self, page: str) -> str:
        return next(category for category, kinds in CATEGORIES.items() if kind_of(page) in kinds)

    def labels(self, page: str) -> dict[str, str]:
        """How the report's lists call a page."""
        return {"shows": self.title(page)}


def kind_of(page: str) -> str:
    """What a page shows, as captions are called: tables, curves and samples by name, galleries by their place."""
    parts = page.split("/")
    if parts[0] != "gallery":
        return parts[-1]
    return "gallery" if len(parts) == 3 else "contrast_gallery"
