"""What stands beside the code says of it what is so."""

import re
import subprocess
import tomllib

import yaml
from snakemake_runs import ROOT

import varc


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text())


def test_one_version_stands_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version, date = re.search(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M).groups()
    citation = read_yaml("CITATION.cff")
    assert project["version"] == varc.__version__ == version == citation["version"]
    assert str(citation["date-released"]) == date


def test_the_citation_has_an_address_and_the_paper():
    citation = read_yaml("CITATION.cff")
    assert citation["url"].startswith("https://")
    assert [reference["url"] for reference in citation["references"]] == ["https://arxiv.org/abs/2510.12060"]


def test_environments_take_the_locked_versions():
    *_, pip = read_yaml("environment.yaml")["dependencies"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}
    recipe = (ROOT / "apptainer.def").read_text()
    copied = re.search(r"%files\n(.*?)\n\n", recipe, re.S)[1].split()[::2]
    assert all((ROOT / name).exists() for name in copied) and "requirements.lock" in copied
    assert "pip install --no-cache-dir -r /opt/varc/requirements.lock" in recipe


def test_ci_runs_what_the_project_runs():
    steps = read_yaml(".github/workflows/ci.yml")["jobs"]["ci"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


def test_the_catalog_finds_what_it_asks_for():
    usage = read_yaml(".snakemake-workflow-catalog.yml")["usage"]
    assert set(usage["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda"} and usage["report"]
    assert {"snakemake", "workflow"} <= set(re.findall(r"\w+", (ROOT / "README.md").read_text().lower()))
    assert (ROOT / "workflow/Snakefile").is_file() and (ROOT / "config/README.md").is_file()
    assert (ROOT / "workflow/envs/varc.yaml").is_file()


def test_the_controllers_script_is_one():
    script = re.search(r"^```bash\n(#!/bin/bash\n.*?)^```$", (ROOT / "docs/cluster.md").read_text(), re.S | re.M)[1]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "#SBATCH --requeue" in script and 'snakemake --profile slurm "$@"' in script
