"""A page of the report: what is seen, then a picture, a table, or both."""

import base64
import mimetypes
from pathlib import Path

import pandas as pd
from docutils.core import publish_parts
from itables import options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from jinja2 import Environment

from varc.metrics.shown import shown

ROWS = [25, 100, 1000, -1]  # that a table shows at a time; -1: all
NAMES = ("dataset", "classifier", "model")  # columns that stay in sight where they are the first ones
HTML = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)  # names of classes come from elsewhere
PAGE = HTML.from_string("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
body { font: 14px/1.45 system-ui, sans-serif; color: #1e293b; margin: 1.5rem; }
h1 { font-size: 1.35rem; margin: 0 0 .5rem; }
p { max-width: 52rem; margin: .5rem 0; }
code, .literal { font-family: ui-monospace, monospace; }
img { display: block; max-width: 100%; margin: 1rem 0; }
.columns { color: #475569; font-size: 13px; }
table.dataTable { font-size: 13px; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{{ lead|safe }}
{% if picture %}
<img src="{{ picture }}" alt="{{ title }}">
{% endif %}
{% if table %}
{{ table|safe }}
<p class="columns">{{ columns }}</p>
<p class="columns"><a download="{{ name }}.csv" href="{{ csv }}">{{ name }}.csv</a> has the plain numbers:
shares are fractions there.</p>
{% endif %}
</body>
</html>
""")


def page(title: str, caption: str, picture: Path | None, csv: Path | None, columns: str) -> str:
    """A page as HTML. caption: as text_of takes it. picture: an SVG or a PNG. csv: a table, which is shown as its
    Markdown is, can be sorted and searched, and downloaded as it is. columns: what its columns say."""
    known = {"title": title, "lead": text_of(caption), "picture": data_uri(picture) if picture else None}
    if csv:
        known["table"] = sortable(shown(pd.read_csv(csv), csv.stem))
        known |= {"columns": columns, "name": csv.stem, "csv": data_uri(csv)}
    return PAGE.render(known)


def text_of(caption: str) -> str:
    """reStructuredText without its title, as HTML. It may include no file, and no HTML of its own."""
    settings = {"raw_enabled": False, "file_insertion_enabled": False, "report_level": 5}
    return str(publish_parts(caption, writer="html5", settings_overrides=settings)["body"])


def data_uri(path: Path) -> str:
    """A file as a URI that holds it."""
    kind = mimetypes.guess_type(path)[0]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def sortable(table: pd.DataFrame) -> str:
    """A table of texts as HTML, escaped, that sorts, searches and turns pages, with all scripts that it needs."""
    first = next((i for i, name in enumerate(table.columns) if name not in NAMES), 0)
    drawn = to_html_datatable(
        table,
        connected=False,
        table_id="table",
        showIndex=False,
        maxBytes=0,
        order=[],
        lengthMenu=ROWS,
        scrollX=True,
        fixedColumns={"start": first},
        text_in_header_can_be_selected=False,  # a click on it sorts
        display_logo_when_loading=False,
        style="table-layout:auto;width:auto;margin:0",
    )
    return generate_init_offline_itables_html(options.dt_bundle) + drawn
