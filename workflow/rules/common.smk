import functools
import json
import os
import re

from snakemake.exceptions import WorkflowError

from workflow.checks import ConfigError, check, in_order
from workflow.imports import code_inputs
from workflow.naming import (
    ADAPTIVE,
    CANDIDATES,
    NOISE,
    PUBLIC_NORM_GROUPS,
    adaptive_stage,
    architecture,
    finetuning,
    origin,
    patch_nums,
    read_candidates,
    read_noise,
    sample_folders,
    spell_adaptive,
    spell_noise,
    spell_sigma,
    spell_vqvae,
    stages,
    vqvae_owner,
)
from workflow.sources import absent, file_sha256, stamp, unfit_weights

try:
    check(config)
except ConfigError as error:
    raise WorkflowError(f"{CONFIG_NAME}: {error}") from None

config = in_order(config)
RUN = f"results/{config['run']}"
SHARDS = config["shards"]
PAIRS = sorted({(d, c) for entry in config["evaluate"] for d in entry["datasets"] for c in entry["classifiers"]})
MODELS = sorted({config["classifiers"][c]["model"] for _, c in PAIRS})
TRAINED = [name for name, entry in config["models"].items() if "train" in entry]
VQVAES = [name for name in TRAINED if vqvae_owner(config["models"], name) == name]
FINETUNED = [name for name, entry in config["models"].items() if "finetune" in entry]
ADAPTIVES = sorted({c for _, c in PAIRS if adaptive_stage(config["classifiers"][c])})
FIXED = sorted({c for _, c in PAIRS} - set(ADAPTIVES))
CALIBRATED = [  # those that score all classes at all scales in one stage, so that a softmax over them has a meaning
    (d, c)
    for d, c in PAIRS
    if c in FIXED and "calibrate" in config["classifiers"][c] and len(config["classifiers"][c]["funnel"]) == 1
]
HUB = {
    entry[part]: (name, part) for name, entry in config["models"].items() if "hub" in entry for part in ("vqvae", "var")
}


localrules:
    gflops,
    accuracy,
    pruning,
    prune,
    cost,
    robustness,
    download,
    calibrate,
    adaptive,
    calibration,
    ablation,
    smoothing,
    incremental,


wildcard_constraints:
    run=config["run"],
    vqvae=r"[\w-]+",
    model=r"[\w-]+",
    dataset=r"[\w-]+",
    classifier=r"[\w-]+",
    candidates=CANDIDATES,
    noise=NOISE,
    adaptive=ADAPTIVE,
    scales=r"\d+",
    precision=r"(-bf16)?",
    shard=r"\d+",
    tasks=r"\d+",
    strategy=r"\w+",
    seed=r"\d+",


def one_of(names):
    """A wildcard constraint: one of the names."""
    return "|".join(map(re.escape, names)) or r"(?!)"


def code(script):
    """The library files that a rule's result depends on, as inputs: an edit reruns what it touches."""
    return code_inputs(f"scripts/{script}.py", workflow.basedir)


def dataset_spec(wildcards):
    return config["datasets"][wildcards.dataset]


def class_list(wildcards):
    """The class list file of a data set, where it has one."""
    return config["datasets"][wildcards.dataset].get("classes", [])


def published_file(wildcards):
    """The CSV of published figures, where the config names one."""
    return config.get("published", [])


@functools.cache
def weights_sha256(model, part):
    """The SHA-256 of a checkpoint: as the config says, else of the file, None where there is none yet."""
    entry = config["models"][model]
    return entry.get("sha256", {}).get(part) or file_sha256(entry[part])


def listing_files(wildcards):
    """The files that say which images a data set has, and with which labels, beside the images themselves."""
    spec = config["datasets"][wildcards.dataset]
    return [spec[key] for key in ("classes", "labels", "ids") if key in spec and os.path.exists(spec[key])]


def ancestry(model):
    """The models that a model is made from, itself first: what it was fine-tuned from, and who trained its VQ-VAE."""
    chain = [model]
    while "finetune" in config["models"][chain[-1]]:
        chain.append(config["models"][chain[-1]]["finetune"])
    return list(dict.fromkeys([*chain, vqvae_owner(config["models"], model)]))


def vqvae_of(model):
    """The VQ-VAE that a model uses, as tokens/ names it."""
    owner = vqvae_owner(config["models"], model)
    if owner in VQVAES:
        return owner
    return spell_vqvae(config["models"][owner]["vqvae"], weights_sha256(owner, "vqvae"))


def model_of(wildcards):
    """A model that has the VQ-VAE of the wildcards and is evaluated on, or trained with, their data set."""
    if wildcards.vqvae in config["models"]:
        return wildcards.vqvae
    models = [config["classifiers"][c]["model"] for dataset, c in PAIRS if dataset == wildcards.dataset]
    models += [c["model"] for c in config["classifiers"].values() if c.get("calibrate") == wildcards.dataset]
    models += [
        m for entry in config.get("smoothing", []) if wildcards.dataset in entry["datasets"] for m in entry["models"]
    ]
    models += [
        config["classifiers"][entry["classifier"]]["model"]
        for entry in config.get("incremental", [])
        if wildcards.dataset in (entry["data"], entry["test"])
    ]
    for name in FINETUNED:
        settings = finetuning(config["models"], name)
        if wildcards.dataset in (settings["data"], settings.get("validate")):
            models.append(name)
    return next(name for name in models if vqvae_of(name) == wildcards.vqvae)


def weights(model, part):
    """The file of a model's weights. A checkpoint that is not there is left out, so that a dry run can do without.

    It is ancient, since its content counts (see checkpoint) and not its time.
    """
    holder = vqvae_owner(config["models"], model) if part == "vqvae" else model
    entry = config["models"][holder]
    if part not in entry:
        return f"{RUN}/models/{holder}/{part}.safetensors"
    return ancient(entry[part]) if entry[part] in HUB or os.path.exists(entry[part]) else []


def checkpoint(model, part):
    """What is known of a checkpoint before it is read; None for weights that are made here, whose card tells."""
    holder = vqvae_owner(config["models"], model) if part == "vqvae" else model
    entry = config["models"][holder]
    if part not in entry:
        return None
    known = {
        "sha256": weights_sha256(holder, part),
        "patch_nums": patch_nums(config["models"], holder) if "patch_nums" in entry else None,
    }
    if shape := architecture(config["models"], holder):
        known |= {"patch_nums": shape["vqvae"]["patch_nums"], "architecture": shape[part]}
    if part == "vqvae":
        known["norm_groups"] = entry.get("norm_groups", PUBLIC_NORM_GROUPS)
    return known


def num_scales(model):
    return len(patch_nums(config["models"], model))


def shards_of(folder):
    """The files of all shards in a folder below the run's."""
    return [f"{RUN}/{folder}/{shard}.parquet" for shard in range(SHARDS)]


def full_stage(classifier):
    """Whether a classifier's first stage scores all classes at all scales, in float32."""
    first = stages(classifier)[0]
    return first.scales == num_scales(classifier["model"]) and first.precision == "float32"


def full_scores(model, dataset, sigma, samples):
    """Scores of all classes at all scales: one list of files, all shards of one sample after the other's."""
    folder = f"scores/{model}/{dataset}/all/scales{num_scales(model)}"
    return [file for i in range(samples) for file in shards_of(f"{folder}/{spell_noise(sigma, i)}")]


def full_pairs():
    """(dataset, model) pairs that some classifier scores at all scales for all classes."""
    return sorted(
        {
            (dataset, config["classifiers"][name]["model"])
            for dataset, name in PAIRS
            if name in FIXED and full_stage(config["classifiers"][name])
        }
    )


def tables():
    """All tables and pictures of the run."""
    names = ["accuracy.csv", "cost.csv", "gflops.csv"]
    if len({dataset for dataset, _ in PAIRS}) > 1:
        names.append("robustness.csv")
    if ADAPTIVES:
        names += ["adaptive.csv", "adaptive.svg"]
    if CALIBRATED:
        names += ["calibration.csv", "calibration.svg"]
    if "ablation" in config:
        names.append("ablation.csv")
    if "smoothing" in config:
        names += ["smoothing.csv", "smoothing.svg"]
    if "incremental" in config:
        names += ["incremental.csv", "incremental.svg"]
    if full_pairs():
        names += ["pruning.csv", "pruning.svg"]
    made = sorted({name for model in MODELS for name in ancestry(model)})
    parts = (("vqvae", VQVAES), ("var", TRAINED), ("finetune", FINETUNED))
    curves = [f"{RUN}/models/{name}/{part}_curve.svg" for name in made for part, having in parts if name in having]
    samples = [f"{RUN}/models/{name}/samples.png" for name in sampled_models()]
    return [f"{RUN}/tables/{name}" for name in names] + curves + samples


def check_sources():
    """Stops a real run, before its first job, where what its jobs read is absent, or the number of shards has changed."""
    jobs = [(job.rule.name, job.wildcards) for job in workflow.dag.needrun_jobs()]
    datasets = {wildcards.dataset for rule, wildcards in jobs if rule in ("manifest", "encode", "learn_tasks")}
    models = {model_of(wildcards) for rule, wildcards in jobs if rule in ("encode", "tokenize")}
    models |= {wildcards.model for rule, wildcards in jobs if rule in ("score", "score_adaptive", "finetune")}
    models |= {config["classifiers"][w.classifier]["model"] for rule, w in jobs if rule == "learn_tasks"}
    models = {name for model in models for name in ancestry(model)}
    message = absent({name: config["datasets"][name] for name in sorted(datasets)}) or unfit_weights(
        {name: config["models"][name] for name in sorted(models)}
    )
    if message:
        raise WorkflowError(f"{CONFIG_NAME}: {message}")
    if "explain" in config:
        raise WorkflowError(f"{CONFIG_NAME}: explain: this version plans it only; take the key away to run the rest")
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
    return sum(samples_of(wildcards.model, train["data"], train["var"]["samples"], train["var"].get("sigma")), [])


def samples_of(model, dataset, samples, sigma):
    """The token files of a data set: one list per sample, of all its shards."""
    folder = f"tokens/{vqvae_of(model)}/{dataset}"
    return [shards_of(f"{folder}/{spell_noise(spell_sigma(sigma), i)}") for i in range(samples)]


def finetune_inputs(wildcards):
    """What a model is fine-tuned from and on: its base, its VQ-VAE, tokens, and the images that it is validated on."""
    model = wildcards.model
    settings = finetuning(config["models"], model)
    files = {
        "manifest": f"{RUN}/datasets/{settings['data']}.parquet",
        "tokens": sum(samples_of(model, settings["data"], settings["samples"], settings.get("sigma")), []),
        "vqvae": weights(model, "vqvae"),
        "var": weights(config["models"][model]["finetune"], "var"),
    }
    if dataset := settings.get("validate"):
        files["validation_manifest"] = f"{RUN}/datasets/{dataset}.parquet"
        files["validation_tokens"] = samples_of(model, dataset, 1, None)[0]
        files["validation_classes"] = config["datasets"][dataset].get("classes", [])
    return files


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


def shapes(wildcards=None):
    """model -> its shape, of all models evaluated; where only the tensors tell, the files and what they do not show."""
    found = {}
    for name in MODELS:
        start = config["models"][origin(config["models"], name)]
        found[name] = architecture(config["models"], name) or {
            "files": [start["vqvae"], start["var"]],
            **{k: start[k] for k in ("patch_nums", "norm_groups") if k in start},
        }
    return found


def shape_files(wildcards):
    """The checkpoints that the costs are read from, as far as no architecture is named."""
    unnamed = {origin(config["models"], name) for name in MODELS if not architecture(config["models"], name)}
    files = [weights(name, part) for name in sorted(unnamed) for part in ("vqvae", "var")]
    return [file for file in files if file]


def all_class_lists(wildcards):
    return sorted({entry["classes"] for entry in evaluated("datasets").values() if "classes" in entry})
