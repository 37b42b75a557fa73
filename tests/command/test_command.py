"""The command as it is called: its help, its exit status, and its tables; what it does with a run: tests/classify."""

import json
import shlex
import subprocess
import sys
from argparse import Namespace

import pandas as pd
import pytest
from snakemake_runs import ROOT

import varc
import varc.command.show
from varc.command import main
from varc.command.arguments import EXAMPLES, parser
from varc.command.explain import explained_name
from varc.command.show import lines
from varc.command.text import aligned
from varc.errors import InputError


@pytest.mark.parametrize("part", EXAMPLES)
def test_the_example_in_the_help_is_a_call(part, capsys):
    with pytest.raises(SystemExit) as ended:
        main([part, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and f"example:\n  varc {part} " in shown
    for call in EXAMPLES[part].replace("\\\n", " ").splitlines():
        name, *arguments = shlex.split(call)
        assert name == "varc" and parser().parse_args(arguments).part == part


@pytest.mark.parametrize("arguments", [[], ["classfy"], ["classify"], ["classify", "a.png", "--top", "x"], ["show"]])
def test_a_wrong_call_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("usage: varc")


def test_a_mistake_ends_with_1_and_an_interruption_with_130(tmp_path, capsys, monkeypatch):
    assert main(["show", str(tmp_path / "absent")]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1

    def interrupted(given):
        raise KeyboardInterrupt

    monkeypatch.setattr("varc.command.show.run", interrupted)
    assert main(["show", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_classifying_needs_a_classifier(tmp_path, capsys):
    assert main(["classify", "a.png"]) == 1
    assert (
        capsys.readouterr().err == "error: vqvae is missing; give a run and a classifier, or the files vqvae and var\n"
    )
    assert main(["classify", "a.png", "--run", str(tmp_path), "--size", "8"]) == 1
    assert capsys.readouterr().err.startswith("error: size: the run says it")


def test_the_version_and_the_import_cost_no_torch():
    code = "import sys, varc, varc.command; assert not {'torch', 'numpy', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    shown = subprocess.run([sys.executable, "-m", "varc", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (shown.returncode, shown.stdout) == (0, f"{varc.__version__}\n")
    with pytest.raises(AttributeError, match="module 'varc' has no attribute 'lod'"):
        varc.lod  # noqa: B018


@pytest.fixture
def run(tmp_path):
    tables = tmp_path / "r/tables"
    tables.mkdir(parents=True)
    table = pd.DataFrame({"dataset": ["d", "d"], "classifier": ["varc", "x\x1b[31m"], "top1": [0.5, None]})
    table.assign(**{f"wide{i}": ["a" * 30] * 2 for i in range(4)}).to_csv(tables / "accuracy.csv", index=False)
    table.to_csv(tables / "cost.csv", index=False)
    return tmp_path / "r"


def test_tables_are_shown_in_the_width_of_the_terminal(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["show", str(run)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith("accuracy.csv") and shown[-1] == f"more: varc show {run} cost"
    assert all(len(line) <= 80 for line in shown[1:-1]) and "\x1b" not in "".join(shown)
    heads = [line.split() for line in shown if line.startswith("dataset")]
    assert [name for head in heads for name in head[2:]] == ["top1", *(f"wide{i}" for i in range(4))]
    assert main(["show", str(run), "all", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["accuracy", "cost"] and [row["top1"] for row in told["cost"]] == [0.5, None]


def test_a_table_that_is_damaged_is_named(run, capsys):
    (run / "tables/cost.csv").write_text("a,b\n1,2,3\n1,2,3,4\n")
    assert main(["show", str(run), "cost"]) == 1
    assert "cost.csv: cannot be read" in capsys.readouterr().err


def test_who_reads_may_have_enough(run):
    command = f"{shlex.quote(sys.executable)} -m varc show {shlex.quote(str(run))} all | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.endswith("accuracy.csv\n")


def test_texts_stand_in_columns():
    assert list(aligned(["a", "number"], [["long name", "1"], ["b\n", ""]], right=(1,))) == [
        "a          number",
        "long name       1",
        "b\\n",
    ]
    assert lines(pd.DataFrame({"x": [1.23456, None]}), 80) == ["    x", "1.235", ""]


def test_maps_lie_beside_the_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.b.png").write_text("")
    assert explained_name(str(tmp_path / "a.b.png")) == tmp_path / "a.b_explained.png"
    assert str(explained_name("glyphs.parquet:000012")) == "glyphs.parquet_000012_explained.png"


def test_what_a_part_raises_is_no_traceback(monkeypatch, capsys):
    def refused(given: Namespace) -> None:
        raise InputError("a\nb")

    monkeypatch.setattr(varc.command.show, "run", refused)
    assert main(["show", "x"]) == 1
    assert capsys.readouterr().err == "error: a\\nb\n"
