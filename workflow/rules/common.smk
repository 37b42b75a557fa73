import json
import os

from snakemake.exceptions import WorkflowError

from workflow.checks import ConfigError, check, in_order
from workflow.imports import code_inputs
from workflow.naming import (
    CANDIDATES,
    NOISE,
    Stage,
    read_candidates,
    read_noise,
    sample_folders,
    shape_settings,
    spell_candidates,
    spell_noise,
    spell_sigma,
    stages,
)
from workflow.sources import absent, stamp

try:
    check(config)
except ConfigError as error:
    raise WorkflowError(f"{CONFIG_NAME}: {error}") from None

config = in_order(config)
RUN = f"results/{config['run']}"
SHARDS = config["shards"]
PAIRS = sorted({(d, c) for entry in config["evaluate"] for d in entry["datasets"] for c in entry["classifiers"]})


localrules:
    gflops,
    accuracy,
    pruning,
    prune,


wildcard_constraints:
    run=config["run"],
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


def training(wildcards):
    return config["models"][wildcards.model]["train"]


def training_manifest(wildcards):
    return f"{RUN}/datasets/{training(wildcards)['data']}.parquet"


def training_tokens(wildcards):
    """Tokens of the training images: all samples, and of each all shards."""
    train = training(wildcards)
    sigma = spell_sigma(train["var"].get("sigma"))
    folder = f"tokens/{vqvae_of(wildcards.model)}/{train['data']}"
    return [
        path
        for sample in range(train["var"]["samples"])
        for path in shards_of(f"{folder}/{spell_noise(sigma, sample)}")
    ]


def candidates_file(wildcards):
    """The candidates that an earlier stage kept; none where a stage takes all classes."""
    if wildcards.candidates == "all":
        return []
    return "{}/candidates/{w.model}/{w.dataset}/{w.candidates}/{w.shard}.parquet".format(RUN, w=wildcards)


def sample_files(wildcards):
    """The scores that a pruning step looks at, one file per sample."""
    *earlier, stage = read_candidates(wildcards.candidates)
    folder = f"{RUN}/scores/{wildcards.model}/{wildcards.dataset}"
    return [f"{folder}/{sample}/{wildcards.shard}.parquet" for sample in sample_folders(earlier, stage)]


def funnel_files(wildcards):
    """All that a prediction is made of: per stage, the scores of all samples, and of each sample all shards."""
    classifier = config["classifiers"][wildcards.classifier]
    model, dataset = classifier["model"], wildcards.dataset
    vqvae = vqvae_of(model)
    funnel = stages(classifier)
    noises = {spell_noise(stage.sigma, i) for stage in funnel for i in range(stage.samples)}
    files = {
        "manifest": f"{RUN}/datasets/{dataset}.parquet",
        "features": shards_of(f"features/{vqvae}/{dataset}"),
        "tokens": [f for noise in sorted(noises) for f in shards_of(f"tokens/{vqvae}/{dataset}/{noise}")],
    }
    for i, stage in enumerate(funnel):
        folders = sample_folders(funnel[:i], stage)
        files[f"stage{i + 1}"] = [f for s in folders for f in shards_of(f"scores/{model}/{dataset}/{s}")]
    return files


def evaluated(key):
    """dataset -> its config entry, or classifier -> its config entry, of all pairs that are evaluated."""
    table = config[key]
    names = {pair[0 if key == "datasets" else 1] for pair in PAIRS}
    return {name: table[name] for name in sorted(names)}


def architectures():
    """model -> the settings that give its shape, of all models evaluated; not those that only train it."""
    names = {entry["model"] for entry in evaluated("classifiers").values()}
    return {name: shape_settings(config["models"][name]["train"]) for name in sorted(names)}


def all_class_lists(wildcards):
    return sorted({entry["classes"] for entry in evaluated("datasets").values() if "classes" in entry})
