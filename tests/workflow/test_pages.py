"""The pages of the report: each table and picture has one, which is called by what it says."""

import re
from types import SimpleNamespace

from docutils.core import publish_parts
from snakemake_runs import RULES

from workflow.pages import CAPTIONS, CATEGORIES, KINDS, Pages

RUN = SimpleNamespace(
    config=SimpleNamespace(run="r"), folder="results/r", table=lambda name: f"results/r/tables/{name}"
)
TARGETS = [
    "tables/accuracy.csv", "tables/pruning.csv", "tables/pruning.svg", "tables/confusion.csv", "tables/confusion.svg",
    "models/tables/var_curve.svg", "models/base/samples.png", "maps/base/digits/tmi/label-vs-unconditional/0.parquet",
    "gallery/base/digits.v2.png", "gallery/base/digits/tmi_abs-pairs.png",
]  # fmt: skip


def pages():
    return Pages(RUN, [f"results/r/{name}" for name in TARGETS])


def test_pages_are_named_by_what_they_say_and_of_what():
    found = {shown["file"].removeprefix("results/r/report/"): shown for shown in pages().contents()}
    titles = {name: (shown["category"], shown["title"]) for name, shown in found.items()}
    assert titles == {
        "accuracy.html": ("Accuracy", "Accuracy and cost of each classifier"),
        "confusion.html": ("Accuracy", "Which classes are taken for which"),
        "pruning.html": ("Cost", "Which classes can be pruned early"),
        "gallery/base/digits.v2.html": ("Explanations", "Predictions explained, right and wrong: base, digits.v2"),
        "gallery/base/digits/tmi_abs-pairs.html": (
            "Explanations",
            "The clearest maps and the worst: base, digits, tmi_abs-pairs",
        ),
        "models/tables/var_curve.html": ("Training", "Training of the VAR: tables"),
        "models/base/samples.html": ("Training", "Images drawn from the model: base"),
    }
    assert [name for name, shown in found.items() if shown["in_front"]] == ["pruning.html"]
    pruning = found["pruning.html"]
    assert (pruning["csv"], pruning["picture"]) == ("results/r/tables/pruning.csv", "results/r/tables/pruning.svg")
    curve = found["models/tables/var_curve.html"]
    assert (curve["csv"], curve["markdown"], curve["picture"]) == (None, None, "results/r/models/tables/var_curve.svg")


def test_what_a_page_shows_is_an_input():
    made, inputs = pages(), pages().inputs()
    for shown in made.contents():
        assert {shown["csv"], shown["markdown"]} - {None} <= set(inputs["tables"])
        assert {shown["picture"]} - {None} <= set(inputs["pictures"]) and shown["caption"] in inputs["captions"]
    assert made.targets() == [*(shown["file"] for shown in made.contents()), "results/r/report/front.html"]


def test_every_table_of_a_rule_has_a_place_in_the_menu_and_a_caption():
    assert set(re.findall(r'\*\*table\("(\w+)"\)', RULES)) <= set(KINDS)
    captions = {path.stem: path.read_text() for path in CAPTIONS.glob("*.rst") if path.stem != "front"}
    assert captions.keys() == set(KINDS) and len(KINDS) == sum(map(len, CATEGORIES.values())) == len(set(KINDS))
    for name, text in captions.items():
        parts = publish_parts(text, writer="html5", settings_overrides={"report_level": 2, "halt_level": 2})
        assert parts["title"] and parts["body"].startswith("<p>"), name
