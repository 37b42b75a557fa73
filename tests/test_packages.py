"""The packages and modules right below varc/ stand in an order: none imports one that imports it, directly or not."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest
from snakemake_runs import ROOT


def imports(root):
    """Package or module below varc/ -> those whose code it names in an import, for types alone included."""
    found = {}
    for path in sorted((root / "varc").rglob("*.py")):
        name = path.relative_to(root / "varc").with_suffix("").parts[0]
        here = found.setdefault(name, set())
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            here |= {module.split(".")[1] for module in modules if module.startswith("varc.")} - {name}
    return found


def test_no_package_imports_another_that_imports_it():
    TopologicalSorter(imports(ROOT)).prepare()  # the error names the cycle


def test_a_cycle_is_seen_through_a_third_package_and_types(tmp_path):
    files = {
        "a/one.py": "from varc.b.two import f\n",
        "b/two.py": "import varc.c\n",
        "c.py": "if TYPE_CHECKING:\n    from varc import a\n",
    }
    for name, text in files.items():
        path = tmp_path / "varc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert imports(tmp_path) == {"a": {"b"}, "b": {"c"}, "c": {"a"}}
    with pytest.raises(CycleError):
        TopologicalSorter(imports(tmp_path)).prepare()
