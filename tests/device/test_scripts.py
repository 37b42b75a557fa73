"""A whole short run (demo.yaml), job by job, by the rules' own inputs and params: on the CPU, on a pretended GPU,
and on the CPU again from other states of the global generators.

Snakemake makes the graph; the scripts of its jobs then run in this process.
"""

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from device.cases import small_models
from device.pretend import PretendCuda
from device.states import content, set_states
from job_graph import graph, run_job, script_of, scripted
from PIL import Image
from safetensors.numpy import load_file
from snakemake_runs import ROOT

from varc.storage import provenance

pytestmark = pytest.mark.long  # whole runs

DEMO = Path(__file__).with_name("demo.yaml")
CLOSE = {  # absolute, and relative beyond 1
    ".parquet": 1e-5,
    ".csv": 1e-5,
    ".safetensors": 1e-4,  # AdamW divides a gradient by its size: where it is near 0, rounding counts; lr is 3e-3
    ".png": 1,  # a level of grey, where a number is half way between two
}
PAIRS = """image_id,target,against,counterpart
digits:1050,1,0,digits:1236
digits:1062,5,3,digits:1346
digits:558,1,0,digits:1236
"""
NO_GRADIENT = re.compile(r"(qkv|k_proj)\.bias$")  # a bias of all keys changes no softmax: its steps are rounding alone
ANY_ORDER = {"score_baseline_adaptive"}  # of randar, which demo.yaml lacks: its parts are cases of cases.py
LOWER = {"certify", "score_certified", "certified"}  # in bf16, whose rounding differs: workflow/test_precision.py
SPEEDS = {"measure_rates"}  # rules whose outputs differ from machine to machine
OF_TIMES = {"measure_rates", "plan", "cost"}  # whose rows or pictures are made from what is measured


class Demo(NamedTuple):
    """What was run where, and what of it ran on the GPU."""

    cpu: Path
    gpu: Path
    again: Path  # on the CPU too
    written: dict[str, list[str]]  # by all jobs of each rule
    outputs: dict[str, list[str]]  # of each rule whose jobs may have a GPU
    scripts: set[str]  # names of the scripts that were run
    launches: dict[str, list[int]]  # kernels of each job of a rule
    takers: set[str]  # scripts of all rules that have the resource gpu, or device
    of_rules: set[str]  # scripts of all rules


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    cpu = tmp_path_factory.mktemp("cpu")
    for name, model in zip(("vae.pth", "var.pth"), small_models(torch.device("cpu")), strict=True):
        torch.save(model.state_dict(), cpu / name)
    (cpu / "pairs.csv").write_text(PAIRS)
    with graph(DEMO, cpu, {"all", "plan"}) as workflow:
        gpu, again = (shutil.copytree(cpu, tmp_path_factory.mktemp(n), dirs_exist_ok=True) for n in ("gpu", "again"))
        jobs = scripted(workflow)
        run_all(jobs, cpu, no_gpu, state=1)
        run_all(jobs, again, no_gpu, state=2)
        launches = run_all(jobs, gpu, PretendCuda, state=3)
        written = {job.rule.name: [] for job in jobs}
        for job in jobs:
            written[job.rule.name].extend(job.output)
        outputs = {job.rule.name: written[job.rule.name] for job in jobs if "gpu" in job.rule.resources}
        scripts, takers = {script_of(job.rule).stem for job in jobs}, scripts_of_devices(workflow)
        of_rules = {script_of(rule).stem for rule in workflow.rules if rule.script}
    return Demo(cpu, gpu, again, written, outputs, scripts, launches, takers, of_rules)


@contextlib.contextmanager
def no_gpu():
    """A machine without a GPU, whatever this one has: the rules' device is auto."""
    with mock.patch("torch.cuda.is_available", lambda: False):
        yield None


def run_all(jobs, folder, device, state):
    """Runs jobs in a folder, each with the device there, and with the global generators in a state; how many kernels
    were launched, by rule."""
    os.chdir(folder)
    launches = {}
    for job in jobs:
        set_states(state)
        with device() as gpu, mock.patch("varc.rates.speed.SECONDS", 0.0):
            run(job)
        launches.setdefault(job.rule.name, []).append(gpu and sum(gpu.launches.values()))
    return launches


def run(job):
    """Runs a job in this process."""
    try:
        run_job(job)
    except SystemExit as error:
        raise AssertionError(Path(job.log[0]).read_text()) from error


def scripts_of_devices(workflow):
    """The scripts of all rules whose jobs may have a GPU."""
    return {script_of(rule).stem for rule in workflow.rules if {"gpu", "device"} & set(rule.resources)}


def test_what_is_drawn_is_drawn_with_the_seed_of_the_config(demo):
    seeds = {rule: set() for rule in demo.written}
    for rule, names in demo.written.items():
        for name in names:
            if name.endswith(".parquet"):
                origin = provenance(demo.cpu / name)["made_from"]
                seeds[rule].add(None if "seed" in origin["wildcards"] else origin["params"].get("seed"))
    assert {rule for rule, found in seeds.items() if 3 in found} >= {"tokenize", "score_baseline", "score_tokens"}
    assert set().union(*seeds.values()) <= {None, 3}


def test_candidates_are_as_many_as_their_path_says(demo):
    kept = {}
    for name in demo.written["prune"]:
        keep = int(re.search(r"-keep(\d+)/\d+\.parquet$", name)[1])
        assert set(pd.read_parquet(demo.cpu / name).groupby("image_id").size()) == {keep}, name
        kept[keep] = name
    assert len(kept) > 1 and max(kept) > 1


def numbers(path):
    """All numbers in a file that a job wrote, in named arrays; None for files that only say how a job went."""
    if path.suffix == ".safetensors":
        return {name: value for name, value in load_file(path).items() if not NO_GRADIENT.search(name)}
    if path.suffix == ".png":
        return {"pixels": np.asarray(Image.open(path)).astype(int)}
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
    elif path.name.endswith("_curve.csv"):
        table = pd.read_csv(path)
    else:
        return None
    return {name: np.array(column.tolist()) for name, column in table.items()}


def differences(one, other):
    """What of two files is not the same, as names of arrays."""
    found, expected = numbers(one), numbers(other)
    assert found.keys() == expected.keys()
    return [name for name in found if not close(found[name], expected[name], CLOSE[one.suffix])]


def close(found, expected, tolerance):
    if not np.issubdtype(expected.dtype, np.number):
        return np.array_equal(found, expected)
    same_shape = found.shape == expected.shape
    return same_shape and np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def test_every_job_gives_on_a_gpu_what_it_gives_on_the_cpu(demo):
    different, compared = {}, set()
    for rule, files in demo.outputs.items():
        for file in files:
            if numbers(demo.cpu / file) is not None:
                compared.add(rule)
                different[file] = differences(demo.gpu / file, demo.cpu / file)
    assert not {file: names for file, names in different.items() if names}
    assert compared == demo.outputs.keys() - SPEEDS


def test_no_job_depends_on_the_state_of_a_global_generator(demo):
    """Whatever is drawn, is drawn by the config's seed: not a byte differs but for what is measured."""
    steady = {file for rule, files in demo.written.items() for file in files if rule not in OF_TIMES}
    shown = (".md", ".html")  # they show the CSVs, times included
    compared = sorted(file for file in steady if not file.endswith(shown))
    differing = [file for file in compared if content(demo.cpu / file) != content(demo.again / file)]
    assert not differing, differing


def test_every_script_that_computes_is_run(demo):
    """One that is not: give demo.yaml what takes it. Those of checks decode pictures, which the digits are not; verify
    looks at a run that has ended."""
    assert demo.of_rules - demo.scripts == {"download", "check_shard", "check_data", "verify", *LOWER, *ANY_ORDER}


def test_every_job_that_was_given_the_gpu_used_it(demo):
    idle = [rule for rule in demo.outputs if not all(demo.launches[rule])]
    assert not idle


def test_the_demo_ends_with_its_tables_on_a_gpu(demo):
    tables, on_cpu = (pd.read_csv(folder / "results/demo/tables/accuracy.csv") for folder in (demo.gpu, demo.cpu))
    measured = [name for name in tables if "seconds" in name]
    assert len(tables) == 10
    pd.testing.assert_frame_equal(tables.drop(columns=measured), on_cpu.drop(columns=measured))


def test_every_script_that_can_use_a_gpu_is_run(demo):
    """One that is not: give demo.yaml what takes it."""
    calling = {path.stem for path in (ROOT / "scripts").glob("*.py") if "compute_device(" in path.read_text()}
    takers = (calling - {"job"}) | demo.takers
    assert len(takers) >= 20
    assert takers - demo.scripts == {"score_certified", *ANY_ORDER}  # what they compute is in cases.py
