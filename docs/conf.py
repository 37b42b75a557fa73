"""The documentation as a site, by Sphinx: `make docs`. Its pages are read where they stand in the repository, so that
their links hold there and in the site."""

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

import varc

project = "varc"
release = varc.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "*/README.md", "*/glyphs/README.md", "docs/*.md"]
exclude_patterns = [".*", "build", "results", "checkpoints"]  # not looked through
myst_heading_anchors = 4
default_role = "literal"  # docstrings have names between single backticks
maximum_signature_line_length = 100
autodoc_member_order = "bysource"

html_theme = "furo"  # reads without a network
html_title = f"varc {release}"
html_copy_source = False
templates_path = ["_templates"]
html_additional_pages = {"index": "index.html"}  # leads to README.html

CONTENTS = {
    "Start": ["Start <self>", "docs/start", "docs/tutorial", "docs/library"],
    "Reference": ["Configuration <config/README>", "docs/tables", "docs/api"],
    "Method": [
        "docs/method",
        "docs/cca",
        "docs/families",
        "docs/explanations",
        "docs/incremental",
        "docs/robustness",
        "docs/speed",
    ],
    "At scale": ["docs/imagenet", "docs/cluster", "docs/gpu", "docs/faults", "docs/security"],
    "Studies": [
        "docs/study",
        "docs/glyphs",
        "docs/digits",
        "Data of the glyphs <data/glyphs/README>",
        "Weights of the glyphs <weights/glyphs/README>",
        "Benchmarks <benchmarks/README>",
    ],
    "Project": ["CONTRIBUTING"],
}


def contents() -> str:
    """The site's navigation, in Markdown; on the first page there is no place for it where the repository is read."""
    trees = (
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", *pages, "```"])
        for caption, pages in CONTENTS.items()
    )
    return "\n\n" + "\n\n".join(trees) + "\n"


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    if page == root_doc:
        source[0] += contents()


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_contents)
    app.add_lexer("mermaid", TextLexer)  # a graph stays text: what draws it would be fetched from the network
