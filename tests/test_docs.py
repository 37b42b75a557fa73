"""What the pages name is there: links, their anchors, files, targets of make; the tutorial's files fit together."""

import re
import subprocess
import sys

import pytest
import yaml
from configs import ROOT, read
from markdown_it import MarkdownIt

from varc.data.classes import read_class_list

FIRST = "README.md", "CONTRIBUTING.md", "*/README.md", "*/glyphs/README.md"
PAGES = {str(path.relative_to(ROOT)): path.read_text() for glob in (*FIRST, "docs/*.md") for path in ROOT.glob(glob)}
SOURCES = [*ROOT.glob("config/*.yaml"), *ROOT.glob("varc/**/*.py"), *ROOT.glob("workflow/**/*.py"), ROOT / "Makefile"]
FOLDERS = "config|docs|data/glyphs|weights|workflow|varc|scripts|tests|benchmarks"
NAMED = re.compile(
    rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*\.(?:md|ya?ml|csv|svg|py|smk|sh|json|safetensors|parquet|txt)\b"
)
ELSEWHERE = {"config/classes/birds.csv", "config/mine.yaml", "benchmarks/output/gpu.md"}  # a user's; a command's


def tokens(text):
    """All tokens of a page, those within lines included."""
    for token in MarkdownIt().enable("table").parse(text):
        yield token
        yield from token.children or ()


def links(text):
    """What a page links to, and shows as pictures."""
    found = (token.attrs.get("href") or token.attrs.get("src") for token in tokens(text))
    return [link for link in found if link and not re.match(r"[a-z]+:", link)]


def anchors(text):
    """What a link can name within a page: its headings, as they are spelled there."""
    heads = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def leads_nowhere(page, text, root=ROOT):
    """The links of a page that lead to no file, or to no heading of it."""
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = (root / page).parent / path if path else root / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            yield link


def targets(text):
    """The targets of make that a page's code names."""
    code = (token.content for token in tokens(text) if token.type.startswith(("code", "fence")))
    return {target for part in code for target in re.findall(r"(?:^|[;&(] ?|\$ )make ([a-z][\w-]*)", part, re.M)}


def targets_of_lines(text):
    """The same, of lines that are indented by four: `make demo    # ...`."""
    return set(re.findall(r"^    make ([a-z][\w-]*)", text, re.M))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert list(leads_nowhere(page, PAGES[page])) == []


def test_a_link_to_nothing_is_seen(tmp_path):
    (tmp_path / "b.md").write_text("# A head: two\n\n```\n# none\n```\n")
    text = (
        "[1](b.md#a-head-two) [2](b.md#none) [3](c.md) ![4](d.svg) `[5](e.md)` [6](https://f.g/h.md)\n\n| [7](i.md) |\n"
    )
    assert list(leads_nowhere("a.md", text, tmp_path)) == ["b.md#none", "c.md", "d.svg", "i.md"]


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page):
    assert {name for name in NAMED.findall(PAGES[page]) if not (ROOT / name).exists()} <= ELSEWHERE


def test_pages_that_code_and_configs_name_are_there():
    named = {name for path in SOURCES for name in re.findall(r"docs/\w+\.md", path.read_text())}
    assert len(named) > 5 and [name for name in named if not (ROOT / name).exists()] == []


def test_targets_of_make_are_there():
    known = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    named = {page: targets(text) | targets_of_lines(text) for page, text in PAGES.items()}
    assert {page: found - known for page, found in named.items() if found - known} == {}
    assert {"demo", "docs", "venv", "test-gpu"} <= set().union(*named.values())  # that they are found


def test_readme_is_short():
    assert len(PAGES["README.md"].split()) <= 1300


def test_shares_of_one_run_have_one_decimal():
    found = {page: re.findall(r"\d\d\.\d\d \[", text) for page, text in PAGES.items()}
    assert not any(found.values()), found


def test_the_tutorial_fits_together(tmp_path):
    """Its pictures are made, its class list names their folders, and its config is accepted."""
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```$", PAGES["docs/tutorial.md"], re.S | re.M))
    (tmp_path / "data").symlink_to(ROOT / "data")
    few = re.sub(r'"train": 300, "test": 40', '"test": 3, "train": 3', blocks["python"])
    assert few != blocks["python"]
    subprocess.run([sys.executable, "-c", few], cwd=tmp_path, check=True)
    subprocess.run(["sh", "-c", blocks["sh"]], cwd=tmp_path, check=True)
    config = yaml.safe_load(blocks["yaml"])
    roots = [tmp_path / config["datasets"][name]["root"] for name in ("letters_train", "letters")]
    listed = [
        (entry.folder, entry.class_id, entry.name) for entry in read_class_list(tmp_path / "build/letters/classes.csv")
    ]
    assert listed == [(name, i, name) for i, name in enumerate("ABCDE")]
    for root in roots:
        assert {path.name: len(list(path.glob("*.png"))) for path in root.iterdir()} == dict.fromkeys("ABCDE", 3)
    read(config)
    vqvae, size = config["models"]["base"]["train"]["vqvae"], config["datasets"]["letters"]["size"]
    assert vqvae["patch_nums"][-1] * 2 ** (len(vqvae["ch_mult"]) - 1) == size
