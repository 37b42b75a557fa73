"""The front page of the report: what ran, what came of it, the plots, and where the rest is."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from varc.errors import counted
from varc.metrics.shown import percent
from varc.report.page import HTML, data_uri

MOST = 3  # names in a sentence
# The description that Snakemake's report opens on stands in a narrow column beside the graph of the rules, in the
# middle of the page, whose top is then out of reach; here it has the page, and the graph stands below it.
FRONT = HTML.from_string("""<style>
.prose.max-w-lg { max-width: 60rem; }
div:has(> div > .prose) { flex-direction: column; }
div:has(> div > div > .prose), div:has(> ul > .prose) { align-items: flex-start; }
.prose .front table { font-size: .85rem; }
.prose .front td, .prose .front th { text-align: right; padding: .2rem .7rem; }
.prose .front .name { text-align: left; }
.prose .front .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
.prose .front figure, .prose .front img { width: 100%; margin: 0; }
</style>
<div class="front">
<h1>{{ run }}</h1>
<p>{{ ran }}</p>
<h2>What came of it</h2>
{% for text in reading %}
<p>{{ text }}</p>
{% endfor %}
<table>
<thead><tr><th class="name">data set</th><th class="name">classifier</th><th>images</th><th>top-1 % [95 %]</th>
<th>top-5 % [95 %]</th><th>GFLOPs per image</th><th>seconds per image</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><td class="name">{{ row.dataset }}</td><td class="name">{{ row.classifier }}</td><td>{{ row.images }}</td>
<td>{{ row.top1 }}</td><td>{{ row.top5 }}</td><td>{{ row.gflops }}</td><td>{{ row.seconds }}</td></tr>
{% endfor %}
</tbody>
</table>
{% if plots %}
<h2>Plots</h2>
<div class="plots">
{% for title, plot in plots %}
<figure><img src="{{ plot }}" alt="{{ title }}"><figcaption>{{ title }}</figcaption></figure>
{% endfor %}
</div>
{% endif %}
<h2>Tables and pictures</h2>
{% for category, pages in listed.items() %}
<h3>{{ category }}</h3>
<ul>
{% for title, page in pages %}
<li><a href='javascript:(page => app.setView({navbarMode: "menu", resultPath: page, content: "html",
contentPath: results[page].data_uri}))({{ page|tojson }})'>{{ title }}</a></li>
{% endfor %}
</ul>
{% endfor %}
</div>
""")


class Made(NamedTuple):
    """How a run was made."""

    when: str
    devices: Sequence[str]
    version: str
    commit: str | None


def front(
    run: str,
    accuracy: pd.DataFrame,
    made: Made,
    plots: Iterable[tuple[str, Path]],
    listed: Iterable[tuple[str, str, str]],
) -> str:
    """The front page as HTML, to stand in the report. accuracy: rows of tables/accuracy.csv. plots: title and SVG.
    listed: category, title and file of all pages of the report."""
    pages: dict[str, list[tuple[str, str]]] = {}
    for category, title, page in listed:
        pages.setdefault(category, []).append((title, page))
    return FRONT.render(
        run=run,
        ran=what_ran(accuracy, made),
        reading=reading(accuracy),
        rows=[cells(row) for row in best_first(accuracy).to_dict("records")],
        plots=[(title, data_uri(path)) for title, path in plots],
        listed=pages,
    )


def what_ran(accuracy: pd.DataFrame, made: Made) -> str:
    """What a run classified with what, when and where, in a few sentences."""
    images = {of: f"{counted(rows['images'].max(), 'image')} of {of}" for of, rows in accuracy.groupby("dataset")}
    skipped = int(accuracy.groupby("dataset")["skipped"].max().sum())
    left = f" {counted(skipped, 'image')} could not be read and count nowhere." if skipped else ""
    changed = " with changes" if (made.commit or "").endswith("-dirty") else ""
    by = f"varc {made.version}" + (f", commit {made.commit[:12]}{changed}" if made.commit else "")
    return (
        f"{counted(accuracy['classifier'].nunique(), 'classifier')} on {some(list(images.values()))}.{left} Scored on "
        f"{some(list(made.devices))}; the tables were made on {made.when} by {by}."
    )


def reading(accuracy: pd.DataFrame) -> list[str]:
    """What the table says, a paragraph for each data set: which classifier is best, which are no worse by the
    intervals, and what they cost."""
    return [read_one(str(dataset), rows) for dataset, rows in accuracy.groupby("dataset", sort=False)]


def read_one(dataset: str, rows: pd.DataFrame) -> str:
    """The paragraph of one data set; see reading."""
    ordered = best_first(rows).to_dict("records")
    best, others = ordered[0], ordered[1:]
    first = "has the highest top-1:" if others else "is right on"
    told = [
        f"On {dataset} {best['classifier']} {first} {interval(best, 'top1')} % of {best['images']:,} images, for "
        f"{best['gflops_per_image']:.3g} GFLOPs and {best['seconds_per_image']:.2g} s an image."
    ]
    near = [row for row in others if row["top1_high"] >= best["top1_low"]]
    if near:
        told.append(
            f"The {'intervals' if len(near) > 1 else 'interval'} of {some([row['classifier'] for row in near])} "
            f"{'overlap' if len(near) > 1 else 'overlaps'} with its own: this table alone does not put them in order."
        )
        told.append(cheapest(best, near))
    elif others:
        following = others[0]
        told.append(
            f"No interval reaches its own; {following['classifier']} is next with {interval(following, 'top1')} %."
        )
    over = "groups of images that hang together" if best["unit"] == "group" else "images"
    told.append(f"Intervals are of 95 %, over {over}.")
    return " ".join(told)


def best_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by data set and top-1, of equals the cheapest first."""
    return rows.sort_values(["dataset", "top1", "gflops_per_image"], ascending=[True, False, True], kind="stable")


def cheapest(best: Mapping[Any, Any], near: Sequence[Mapping[Any, Any]]) -> str:
    """Which of the classifiers near the best one costs least, and how much of that one's cost."""
    least = min(near, key=lambda row: row["gflops_per_image"])
    share = least["gflops_per_image"] / best["gflops_per_image"]
    if share >= 1:
        return "None of them costs less."
    return (
        f"Of them {least['classifier']} costs least: {least['gflops_per_image']:.3g} GFLOPs an image, "
        f"{percent(share)} % of {best['classifier']}'s, with {interval(least, 'top1')} %."
    )


def cells(row: Mapping[Any, Any]) -> dict[str, str]:
    """A row of the table as texts."""
    return {
        "dataset": row["dataset"],
        "classifier": row["classifier"],
        "images": f"{row['images']:,}",
        "top1": interval(row, "top1"),
        "top5": interval(row, "top5"),
        "gflops": f"{row['gflops_per_image']:.3g}",
        "seconds": f"{row['seconds_per_image']:.2g}",
    }


def interval(row: Mapping[Any, Any], name: str) -> str:
    """A share with its interval, in percent; nothing where it is not defined."""
    share, low, high = (percent(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{share} [{low}, {high}]" if share else ""


def some(names: Sequence[str]) -> str:
    """Names in a sentence, the first ones where there are many."""
    shown = list(names) if len(names) <= MOST + 1 else [*names[:MOST], f"{len(names) - MOST} others"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
