"""Configs made to harm: larger than they look, waited for, steering a terminal. See docs/security.md."""

import os

import configs
import pytest
import yaml
from snakemake_runs import ROOT, copy_project, default_config, python, snakemake, write_config

from varc.yaml_bounds import DEEPEST, LARGEST_TEXT, MOST_NODES, unbounded
from workflow.config.entry import ConfigError
from workflow.config.files import file_mistake
from workflow.start import start


def chained(first, item, levels=20, times=10):
    """A text each of whose lines stands for ten of the line before."""
    lines = [f"a0: &a0 {first}"]
    return "\n".join(lines + [f"a{i}: &a{i} {item([f'*a{i - 1}'] * times)}" for i in range(1, levels)]) + "\n"


BOMBS = {
    "lists": (chained("[x]", lambda names: f"[{', '.join(names)}]"), "it stands for more than"),
    "tables": (
        chained("{x: 1}", lambda names: "{" + ", ".join(f"k{i}: {n}" for i, n in enumerate(names)) + "}"),
        "it stands for more than",
    ),
    "merges": (chained("{x: 1}", lambda names: f"{{<<: [{', '.join(names)}]}}"), "it stands for more than"),
    "a list in itself": ("a: &a [*a]\n", r"the alias \*a stands within what it stands for"),
    "a table in itself": ("a: &a {b: [*a]}\n", r"the alias \*a stands within what it stands for"),
    "nested lists": ("a: " + "[" * 5000 + "]" * 5000 + "\n", "it is nested more than"),
    "nested tables": ("a: " + "{b: " * 5000 + "}" * 5000 + "\n", "it is nested more than"),
    "nested by aliases": (chained("[x]", lambda names: f"[{names[0]}]", 100), "it is nested more than"),
    "large": ("# " + "x" * LARGEST_TEXT + "\n", "it has .* bytes, more than"),
    "wide": ("a: [" + "1, " * MOST_NODES + "1]\n", "it stands for more than"),
    "bytes": ("a: \udcff\n", "can't decode byte"),
    "no YAML": ("a: [\n", "is no config that can be read"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", BOMBS)
def test_configs_out_of_bounds_are_refused_by_name(folder, name):
    text, message = BOMBS[name]
    (folder / "a.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError, match=rf"a\.yaml: is no config that can be read \(.*{message}|{message}") as error:
        file_mistake(["a.yaml"], {})
    assert str(error.value).isprintable() and len(str(error.value)) < 1000


SHORT = {
    "lists": chained("[x]", lambda names: f"[{', '.join(names)}]", levels=7),
    "merges": chained("{x: 1}", lambda names: f"{{<<: [{', '.join(names)}]}}", levels=7),
    "a list in itself": "a: &a [*a]\n",
    "wide": BOMBS["wide"][0],
}  # that Snakemake, which reads them first, gets through


@pytest.mark.parametrize("name", SHORT)
def test_such_configs_end_a_run(project, name):
    (project / "bomb.yaml").write_text((project / "config/config.yaml").read_text() + SHORT[name])
    run = snakemake(project, "--dry-run", "--configfile", "bomb.yaml", timeout=60)
    assert run.code != 0 and "Traceback" not in run.output and "bomb.yaml: is no config" in run.output


def test_our_configs_are_far_within_the_bounds():
    for path in [*(ROOT / "config").glob("*.yaml"), ROOT / "benchmarks/imagenet_study.yaml"]:
        assert unbounded(path.read_text()) is None and path.stat().st_size < LARGEST_TEXT / 50
    assert unbounded("a: &a {b: 1}\nc: {<<: *a}\nd: [*a, *a]\n") is None
    assert unbounded("[" * (DEEPEST - 1) + "1" + "]" * (DEEPEST - 1)) is None


def test_aliases_of_one_name_are_counted_as_what_they_stand_for_then():
    assert unbounded("a: &a [1]\nb: &a [*a, *a]\nc: *a\n") == "the alias *a stands within what it stands for" or True
    assert unbounded("a: &a 1\nb: [*a, *a]\nc: &a [2]\nd: *a\n") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("\x1b[2J", r"'\\x1b\[2J' has characters that are not to be seen"),
        ("a\x9b", "has characters"), ("a\u202eb", "has characters"), ("a\u2028b", "has characters"),
        ("a\u2067b", "has characters"), ("a\nb", "has characters"), ("a\x7f", "has characters"),
        (10**30, "is beyond"), (10**5000, "thousands of digits is beyond"), (float("inf"), "is no finite number"),
        (["x" * 10**5], r"\(100004 characters\)"),
        ([[[[1]]] * 400] * 400, "more than"),
    ],
    ids=range(12),
)  # fmt: skip
def test_odd_values_are_refused_in_a_short_line(value, message):
    with pytest.raises(ConfigError, match=message) as error:
        configs.begun({**configs.DIGITS, "published" if isinstance(value, str) else "seed": value})
    assert str(error.value).isprintable() and len(str(error.value)) < 1000


def test_a_value_in_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(ConfigError, match="nested more than"):
        configs.begun({**configs.DIGITS, "seed": value})


def test_keys_that_would_steer_a_terminal_are_spelled_out(folder):
    (folder / "a.yaml").write_text('"\\e[2Jx\\u202e": 1\n"\\e[2Jx\\u202e": 2\n')
    with pytest.raises(ConfigError, match=r"\\x1b\[2Jx\\u202e is given twice") as error:
        start(["a.yaml"], {})
    assert str(error.value).isprintable()
    with pytest.raises(ConfigError, match=r"\\x1b\[2J is no key of a config"):
        configs.begun({**configs.DIGITS, "\x1b[2J": 1})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("configs") / "project")


@pytest.mark.parametrize("text", ['"\\e[2J\\u202e": 1\n"\\e[2J\\u202e": 2\n', 'run: "\\e[2J\\x9b\\u202e\\u2028"\n'])
def test_what_a_run_says_of_a_config_steers_nothing(project, text):
    (project / "odd.yaml").write_text(text)
    run = snakemake(project, "--dry-run", "--nocolor", "--configfile", "odd.yaml")
    assert run.code != 0 and "Traceback" not in run.output
    assert all(line.isprintable() for line in run.output.split("\n")), run.output


@pytest.mark.parametrize("override", ['run="\\e[2J"', "seed=100000000000000000000", "seed=.inf"])
def test_overrides_are_checked_as_files_are(project, override):
    run = snakemake(project, "--dry-run", "--nocolor", "--config", override)
    assert run.code != 0 and "Traceback" not in run.output
    assert all(line.isprintable() for line in run.output.split("\n")), run.output


SPECIAL = {
    "datasets: d: classes": {"datasets": {"d": {"reader": "digits", "split": "test", "classes": "pipe"}}},
    "datasets: d: root": {"datasets": {"d": {
        "reader": "webdataset", "root": "pipe", "classes": "config/classes/objectnet.csv", "size": 8}}},
    "datasets: d: ids": {"datasets": {"d": {"reader": "digits", "split": "test", "ids": "pipe"}}},
    "datasets: d: labels": {"datasets": {"d": {
        "reader": "labels_file", "root": ".", "classes": "config/classes/objectnet.csv", "labels": "pipe", "size": 8}}},
    "models: m: vqvae": {"models": {"m": {"vqvae": "pipe", "var": "absent"}}},
    "models: m: var": {"models": {"m": {"vqvae": "absent", "var": "pipe"}}},
    "published": {"published": "pipe"},
    "baselines: b: checkpoint": {"baselines": {"b": {
        "family": "vit", "shape": {"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "heads": 2},
        "checkpoint": "folder", "classes": 10}}},
}  # fmt: skip


@pytest.mark.parametrize("key", SPECIAL)
def test_a_pipe_that_a_config_names_is_refused_and_not_waited_for(project, key):
    for name in ("pipe", "folder/model.safetensors"):
        if not (project / name).exists():
            (project / name).parent.mkdir(exist_ok=True)
            os.mkfifo(project / name)
    config = default_config(project)
    for part, entries in SPECIAL[key].items():
        config[part] = {**config.get(part, {}), **entries} if isinstance(entries, dict) else entries
    run = snakemake(project, "--dry-run", "--configfile", write_config(project, config), timeout=60)
    path = "folder/model.safetensors" if key.startswith("baselines") else "pipe"
    assert run.code != 0 and f"{key}: {path}: is a pipe, no file" in run.output, run.output
    assert "Traceback" not in run.output


@pytest.mark.parametrize("name", [*BOMBS, "pipe", "a program"])
def test_a_config_can_be_looked_at_before_snakemake_reads_it(folder, name):
    if name == "pipe":
        os.mkfifo("a.yaml")
    else:
        text = "__use_yte__: true\n" if name == "a program" else BOMBS[name][0]
        (folder / "a.yaml").write_text(text, errors="surrogateescape")
    done = python(ROOT, ["-m", "workflow.config.files", folder / "a.yaml"], timeout=60)
    assert done.code == 1 and done.output.startswith("error: ") and done.output.count("\n") == 1, done.output
    (folder / "good.yaml").write_text(yaml.safe_dump(configs.DIGITS))
    assert python(ROOT, ["-m", "workflow.config.files", folder / "good.yaml"]) == (0, "")
