"""The files that the code inputs of rules stand for are the files that their scripts really import."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rerun_table import all_rules, read_keys, resolved, with_files
from snakemake_runs import ROOT, copy_project, python, snakemake, write_config

from workflow.imports import STAMPS, code_inputs, code_stamp, digest

HELPERS = ("augmented", "explained", "job", "kept", "maps", "models", "networks", "rivals", "shapes", "summary")
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if path.stem not in HELPERS)
LIGHT = ["manifest", "check_shard", "check_data", "prune", "predict", "calibrate", "accuracy", "per_class", "confusion"]

LOAD = """
import json, os, sys
sys.path.append("scripts")
class Stop(Exception): pass
import job
def stop(snakemake): raise Stop
job.job = stop
for name in sys.argv[1:]:
    read, write = os.pipe()
    if os.fork() == 0:  # each script sees what it imports itself
        try:
            exec(compile(open(f"scripts/{name}.py").read(), name, "exec"), {"snakemake": None, "__name__": "script"})
        except Stop:
            pass
        files = [m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)]
        own = tuple(f"{os.getcwd()}/{folder}/" for folder in ("varc", "scripts"))
        used = [f for f in files if f.startswith(own)]
        os.write(write, json.dumps([name, {"files": used, "torch": "torch" in sys.modules}]).encode())
        os._exit(0)
    os.close(write)
    print(open(read).read())
    os.wait()
"""


@pytest.fixture(scope="module")
def loaded():
    """Script -> the project's files that it has imported once its own imports are done."""
    done = python(ROOT, ["-c", LOAD, *SCRIPTS])
    assert done.code == 0, done.output
    return dict(json.loads(line) for line in done.output.splitlines())


@pytest.mark.parametrize("script", SCRIPTS)
def test_code_inputs_are_what_the_script_imports(script, loaded, monkeypatch):
    monkeypatch.chdir(ROOT)
    files = {file.removeprefix(f"{ROOT}/") for file in loaded[script]["files"]}
    found = set(code_inputs(f"scripts/{script}.py", "."))
    assert files and files <= found
    assert all((ROOT / path).is_file() for path in found)


def test_jobs_that_compute_nothing_import_no_torch():
    """It takes seconds, of every shard's job."""
    done = subprocess.run([sys.executable, "-c", LOAD, *LIGHT], cwd=ROOT, capture_output=True, text=True, check=True)
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    assert {script: found[script]["torch"] for script in LIGHT} == dict.fromkeys(LIGHT, False)


def test_the_style_of_figures_counts_for_scripts_that_draw(monkeypatch):
    monkeypatch.chdir(ROOT)
    drawing = {name for name in SCRIPTS if "varc/figures.mplstyle" in code_inputs(f"scripts/{name}.py", ".")}
    assert {"main", "pruning", "train_var", "gallery"} <= drawing and not drawing & {"score", "predict", "accuracy"}


def test_an_import_of_an_import_counts(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "varc").mkdir()
    (tmp_path / "scripts" / "one.py").write_text("import numpy\nfrom varc.a import x\n")
    (tmp_path / "varc" / "__init__.py").write_text("")
    (tmp_path / "varc" / "a.py").write_text("def x():\n    from varc import b\n")
    (tmp_path / "varc" / "b.py").write_text("")
    (tmp_path / "varc" / "c.py").write_text("")
    names = [path.rpartition("/")[2] for path in code_inputs("scripts/one.py", tmp_path)]
    assert sorted(names) == ["__init__.py", "a.py", "b.py"]


def test_an_import_for_types_alone_does_not_count(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "varc").mkdir()
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from varc.a import x\nelse:\n    import varc.b\n"
    (tmp_path / "scripts" / "one.py").write_text(types)
    for name in ("a", "b"):
        (tmp_path / "varc" / f"{name}.py").write_text("")
    assert [path.rpartition("/")[2] for path in code_inputs("scripts/one.py", tmp_path)] == ["b.py"]


# script -> the models whose code it does without: an edit of it must not run these jobs again
WITHOUT = {
    "encode": ["var"],
    "tokenize": ["var"],
    "train_vqvae": ["var"],
    "main": ["quantizer", "var", "vqvae"],
    "train_baseline": ["quantizer", "var", "vqvae"],
    "learn_tasks_convnet": ["quantizer", "var", "vqvae"],
}
FAMILIES = sorted(path.stem for path in (ROOT / "varc" / "baselines" / "settings").glob("[!_]*.py"))


@pytest.mark.parametrize("script", WITHOUT)
def test_a_script_imports_the_models_that_it_needs_alone(script):
    files = {path.rpartition("varc/models/")[2] for path in code_inputs(f"scripts/{script}.py", ROOT)}
    assert "weights.py" in files
    assert not files & {f"{name}.py" for name in WITHOUT[script]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rival_imports_neither_vqvae_nor_var(family):
    files = {path.rpartition("varc/models/")[2] for path in code_inputs(f"varc/baselines/{family}.py", ROOT)}
    assert not files & {"quantizer.py", "var.py", "vqvae.py"}


def test_every_rule_takes_what_its_script_imports(tmp_path, monkeypatch):
    """The code inputs of all jobs of a config that has every key, against the imports of their rules' scripts."""
    monkeypatch.chdir(ROOT)
    project = with_files(copy_project(tmp_path / "project"))
    config = resolved(read_keys(), None)
    del config["gflops_per_second"]  # so that it is measured
    config["explain"][0]["methods"] += ["gradient_shap", "random"]  # rules that no key of the table has
    rival = {"classifier": "dc", "tasks": [2], "strategies": ["family_sequential"]}
    config["incremental"].append(config["incremental"][0] | rival)
    del config["incremental"][1]["train"]
    run = snakemake(
        project, "all", "plan", "check_images", "verify", "--dry-run", "--configfile", write_config(project, config)
    )
    assert run.code == 0, run.output
    jobs = re.findall(r"^(?:local)?rule (\w+):\n(?:    input: (.*)\n)?", run.output, re.M)
    taken = {rule: {file for file in files.split(", ") if file.startswith(f"{STAMPS}/")} for rule, files in jobs}
    assert set(taken) == {*all_rules(), "all"}
    assert not taken.pop("all") and not taken.pop("check_images")
    assert not taken.pop("download")  # an edit must not download gigabytes again
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    for rule, stamps in taken.items():
        script = re.search(rf'^rule {rule}:\n.*?^ +"../../(scripts/\w+\.py)"$', rules, re.M | re.S)[1]
        assert f"{STAMPS}/{Path(script).stem}" in stamps, rule
        for stamp in stamps:
            family = f"varc/baselines/{Path(stamp).name.removeprefix('family_')}.py"
            files = {*code_inputs(family, ROOT), family} if "family_" in stamp else set(code_inputs(script, ROOT))
            lines = (project / stamp).read_text().splitlines()
            assert {line.split("  ")[1] for line in lines} == files, (rule, stamp)


def test_a_stamp_changes_with_what_its_files_hold_and_has_the_time_of_the_latest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = ["a.py", "b.py"]
    for file, time in zip(files, (1000, 2000), strict=True):
        Path(file).write_text(file)
        os.utime(file, (time, time))
    stamp = Path(code_stamp("one", files))
    before, written = stamp.read_text(), stamp.stat()
    assert written.st_mtime == 2000
    assert code_stamp("one", files) == str(stamp) and stamp.stat().st_ino == written.st_ino  # left as it is
    Path("a.py").write_text("edited")
    os.utime("a.py", (3000, 3000))
    digest.cache_clear()  # as another run of snakemake would
    code_stamp("one", files)
    assert stamp.read_text() != before and stamp.stat().st_mtime == 3000
    assert [path.name for path in stamp.parent.iterdir()] == ["one"]


def test_nothing_but_the_download_imports_huggingface_hub():
    load = "import sys, workflow.start, workflow.outputs, workflow.record, workflow.sources"
    done = python(ROOT, ["-c", f"{load}\nassert not {{'huggingface_hub', 'torch'}} & {{*sys.modules}}"], cold=True)
    assert done.code == 0, done.output
    files = [*(ROOT / "varc").rglob("*.py"), *(ROOT / "scripts").glob("*.py"), *(ROOT / "workflow").rglob("*.*")]
    named = [path for path in files if path.suffix in {".py", ".smk"} and "import huggingface_hub" in path.read_text()]
    assert named == [ROOT / "varc/models/download.py"]
