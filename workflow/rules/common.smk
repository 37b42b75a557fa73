import json
import os

from snakemake.exceptions import WorkflowError

from workflow.checks import ConfigError, check
from workflow.imports import code_inputs
from workflow.naming import (
    CANDIDATES,
    NOISE,
    Stage,
    read_candidates,
    read_noise,
    sample_folders,
    spell_candidates,
    spell_noise,
    spell_sigma,
    stages,
)
from workflow.sources import absent, stamp

CONFIG_NAME = ", ".join(map(str, workflow.overwrite_configfiles)) or "config/config.yaml"

try:
    check(config)
except ConfigError as error:
    raise WorkflowError(f"{CONFIG_NAME}: {error}") from None

RUN = f"results/{config['run']}"
SHARDS = config["shards"]
PAIRS = sorted({(d, c) for entry in config["evaluate"] for d in entry["datasets"] for c in entry["classifiers"]})


localrules:
    gflops,
    accuracy,
    pruning,
    prune,


wildcard_constraints:
    run=r"[\w-]+",
    vqvae=r"[\w-]+",
    model=r"[\w-]+",
    dataset=r"[\w-]+",
    classifier=r"[\w-]+",
    candidates=CANDIDATES,
    noise=NOISE,
    scales=r"\d+",
    shard=r"\d+",


def code(script):
    """The library files that a rule's result depends on, as inputs: an edit reruns what it touches."""
    return code_inputs(f"scripts/{script}.py", workflow.basedir)


def log_of(rule_name, *wildcards):
    return f"{RUN}/logs/{rule_name}/" + "/".join(f"{{{name}}}" for name in wildcards) + ".log"


def dataset_spec(wildcards):
    return config["datasets"][wildcards.dataset]


def class_list(wildcards):
    """The class list file of a data set, where it has one."""
    return config["datasets"][wildcards.dataset].get("classes", [])


def vqvae_of(model):
    """The model whose VQ-VAE a model uses, as tokens/ names it."""
    return model


def num_scales(model):
    return len(config["models"][model]["train"]["vqvae"]["patch_nums"])


def shards_of(folder):
    """The files of all shards in a folder below the run's."""
    return [f"{RUN}/{folder}/{shard}.parquet" for shard in range(SHARDS)]


def full_pairs():
    """(dataset, model) pairs that some classifier scores at all scales for all classes."""
    return sorted(
        {
            (dataset, config["classifiers"][name]["model"])
            for dataset, name in PAIRS
            if stages(config["classifiers"][name])[0].scales == num_scales(config["classifiers"][name]["model"])
        }
    )


def tables():
    """All tables and pictures of the run."""
    names = ["accuracy.csv", "gflops.csv"]
    if full_pairs():
        names += ["pruning.csv", "pruning.svg"]
    curves = [
        f"{RUN}/models/{model}/{part}_curve.svg"
        for model in sorted({config["classifiers"][name]["model"] for _, name in PAIRS})
        for part in ("vqvae", "var")
    ]
    return [f"{RUN}/tables/{name}" for name in names] + curves


def check_sources():
    """Stops a real run, before its first job, where data is absent or the number of shards has changed."""
    used = {dataset for dataset, _ in PAIRS}
    used |= {config["models"][config["classifiers"][name]["model"]]["train"]["data"] for _, name in PAIRS}
    message = absent({name: config["datasets"][name] for name in sorted(used)})
    if message:
        raise WorkflowError(f"{CONFIG_NAME}: {message}")
    note = f"{RUN}/shards.json"
    before = json.load(open(note))["shards"] if os.path.exists(note) else SHARDS
    if before != SHARDS:
        raise WorkflowError(
            f"{CONFIG_NAME}: shards is {SHARDS}, but {RUN} was made with {before}; "
            f"set shards back to {before}, or choose another name for run, or delete {RUN}"
        )
    os.makedirs(RUN, exist_ok=True)
    with open(note, "w") as file:
        json.dump({"shards": SHARDS}, file)
