"""What the pipeline takes beyond the computation: python benchmarks/overhead.py [--seconds 10 60 600].

For each size one `score` job is run by snakemake on as many images of Fashion-MNIST as make the computation about so
long; one CPU, random weights of a small model. All figures are CPU seconds of a whole tree of processes, since these do
not depend on what else the machine does: `bare` is varc.scoring.likelihood.score alone, called on the same shard in a
process of its own; `call` the same call within the job; `job` the job's process; `run` all that one `snakemake` for one
job takes. The overhead is run - call.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from snakemake_runs import copy_project

SHAPE = {"patch_nums": [1, 2, 4, 7], "ch": 8, "ch_mult": [1, 2, 2], "num_res_blocks": 1, "z_channels": 8}
SHAPE |= {"vocab_size": 128, "norm_groups": 4, "steps": 2, "batch_size": 8, "lr": 0.001}
VAR = {"depth": 8, "width": 64, "heads": 4, "steps": 2, "batch_size": 8, "lr": 0.001}
IMAGES_PER_SECOND = 80  # of the call, on a core of the machine of docs/cluster.md: what makes the shards so long
CLOCK = """

import atexit, json, os, time  # appended by benchmarks/overhead.py
_score = score
def score(*arguments, **settings):
    start = time.process_time()
    try:
        return _score(*arguments, **settings)
    finally:
        call = time.process_time() - start
        atexit.register(write_clock, call)
def write_clock(call):
    with open(os.environ["VARC_CLOCK"], "w") as file:
        json.dump({"call": call, "job": time.process_time()}, file)
"""
BARE = """
import sys, torch
from varc.device import pick_device
from varc.models.var_weights import read_var
from varc.models.vqvae_weights import read_vqvae
from varc.scoring.funnel import all_classes
from varc.scoring.likelihood import score
from varc.storage import column_matrix, read_parquet
torch.set_num_threads(1)
tokens, vqvae, var = sys.argv[1:]
tokens = column_matrix(read_parquet(tokens), "tokens")
quantizer = read_vqvae(vqvae, None)[0].quantize
var, card = read_var(var, None)
score(var, quantizer, tokens, all_classes(range(10), len(tokens), card), device=pick_device("cpu"))
"""


def config(per_class: int) -> dict[str, Any]:
    """A study of one data set, one model and one classifier."""
    fashion = {"reader": "idx", "root": "/usr/share/datasets/fashion-mnist", "split": "train", "per_class": per_class}
    fashion["classes"] = "config/classes/fashion_mnist.csv"
    return {
        "run": "overhead",
        "seed": 0,
        "shards": 1,
        "datasets": {"fashion": fashion, "few": fashion | {"per_class": 4}},
        "models": {"base": {"train": {"data": "few", "vqvae": SHAPE, "var": VAR}}},
        "classifiers": {"varc": {"model": "base", "funnel": [{"scales": 4, "keep": 1}]}},
        "evaluate": [{"datasets": ["fashion"], "classifiers": ["varc"]}],
    }


def cpu_of(command: list[str | Path], folder: Path, **environment: str) -> float:
    """CPU seconds of a command and all processes that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    variables = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path, images: int) -> dict[str, float]:
    """CPU seconds of a shard of so many images: bare, call, job, run."""
    (folder / "study.yaml").write_text(yaml.safe_dump(config(images // 10)))
    results = "results/overhead"
    tokens = f"{results}/tokens/base/fashion/clean/0.parquet"
    scores = f"{results}/scores/base/fashion/all/scales4/clean/0.parquet"
    weights = [f"{results}/models/base/{part}.safetensors" for part in ("vqvae", "var")]
    snakemake: list[str | Path] = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "1",
        "--configfile",
        "study.yaml",
        "--",
    ]
    cpu_of([*snakemake, tokens, *weights], folder)
    clock = folder / "clock.json"
    run = cpu_of([*snakemake, scores], folder, VARC_CLOCK=str(clock))
    found = {**json.loads(clock.read_text()), "run": run}
    cpu_of([sys.executable, "-c", BARE, tokens, *weights], folder, VARC_CLOCK=str(clock))
    return {"bare": json.loads(clock.read_text())["call"], **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 60])
    print("| images | bare | call | job | run | overhead s | overhead % of the call |\n" + "| --- " * 7 + "|")
    for seconds in parser.parse_args().seconds:
        with tempfile.TemporaryDirectory() as parent:
            folder = copy_project(Path(parent) / "project")
            with open(folder / "varc/scoring/likelihood.py", "a", encoding="utf-8") as file:
                file.write(CLOCK)
            images = seconds * IMAGES_PER_SECOND
            took = measure(folder, images)
        over = took["run"] - took["call"]
        cells = " | ".join(f"{took[name]:.1f}" for name in ("bare", "call", "job", "run"))
        print(f"| {images} | {cells} | {over:.1f} | {100 * over / took['call']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
