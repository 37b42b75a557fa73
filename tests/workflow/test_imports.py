"""The files that rules take as code inputs are the files that their scripts really import."""

import pytest
from snakemake_runs import ROOT, python

from workflow.imports import code_inputs

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if path.stem not in ("job", "shapes", "weights"))

LOAD = """
import sys, types
name = sys.argv[1]
sys.path.append("scripts")
class Stop(Exception): pass
import job
def stop(snakemake): raise Stop
job.job = stop
try:
    exec(compile(open(f"scripts/{name}.py").read(), name, "exec"), {"snakemake": None, "__name__": "script"})
except Stop:
    pass
print("\\n".join(m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)))
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_code_inputs_are_what_the_script_imports(script, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = python(ROOT, ["-c", LOAD, script])
    assert done.code == 0, done.output
    loaded = {line for line in done.output.splitlines() if line.startswith((f"{ROOT}/varc/", f"{ROOT}/scripts/"))}
    loaded = {line.removeprefix(f"{ROOT}/") for line in loaded}
    found = set(code_inputs(f"scripts/{script}.py", "."))
    assert loaded and loaded <= found
    assert all((ROOT / path).is_file() for path in found)


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
