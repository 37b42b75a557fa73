"""`pip install .` in a new environment gives the library and the command."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser

import pytest
from PIL import Image
from snakemake_runs import ROOT

from varc.data.found import Found
from varc.data.readers import open_images

PARTS = ("pyproject.toml", "README.md", "LICENSE", "varc")
WEIGHTS = [f"--{part}={ROOT}/weights/glyphs/{part}.safetensors" for part in ("vqvae", "var")]


def run(*command, **options):
    without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, env=without, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run(*pip, "--wheel-dir", folder / "wheels", folder)
    (built,) = (folder / "wheels").iterdir()
    return built


@pytest.fixture(scope="module")
def environment(tmp_path_factory, wheel):
    """A new environment with the wheel; what it depends on is read from the one of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    own = sysconfig.get_path("purelib", vars={"base": str(folder)})
    with open(f"{own}/dependencies.pth", "w") as file:
        file.write(sysconfig.get_path("purelib") + "\n")
    run(sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--no-deps", "--no-index", wheel)
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_holds_varc_alone_and_says_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (found,) = (name for name in names if name.endswith("METADATA"))
        told = Parser().parsestr(archive.read(found).decode())
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"varc", "varc_classifier"}
    assert "varc/figures.mplstyle" in names
    assert told["Name"] == "varc-classifier"
    assert {"baselines", "explanations", "workflow"} <= set(told.get_all("Provides-Extra"))
    needs = [line for line in told.get_all("Requires-Dist") if "extra ==" not in line]
    assert "torch" in needs and not any(line.startswith(("snakemake", "diffusers", "captum")) for line in needs)


@pytest.mark.slow
def test_a_picture_is_classified_by_what_is_installed(environment, tmp_path):
    glyphs = open_images({"reader": "parquet", "root": str(ROOT / "data/glyphs/test"), "size": 32})
    glyphs(Found("glyphs.parquet:000000", "0", f"{ROOT}/data/glyphs/test/glyphs.parquet")).save(tmp_path / "a.png")
    own = run(environment / "python", "-c", "import varc; print(varc.__file__)", cwd=tmp_path).strip()
    assert own.startswith(str(environment.parent))
    options = [*WEIGHTS, f"--classes={ROOT}/data/glyphs/classes.csv", "--device=cpu"]
    for command in ([environment / "varc"], [environment / "python", "-m", "varc"]):
        (found,) = json.loads(run(*command, "classify", "a.png", *options, "--json", cwd=tmp_path))
        assert found["prediction"]["name"] == "A" and found["image"] == "a.png"
    assert "log p(x|A)" in run(environment / "varc", "explain", "a.png", *options, cwd=tmp_path)
    assert Image.open(tmp_path / "a_explained.png").width > 100
