import functools
import gc
import os
import re

from snakemake.exceptions import WorkflowError

from varc.errors import InputError
from varc.planning import images_at_once, kind, of_rival
from workflow.checks import ConfigError, check, in_order
from workflow.families import KEPT_BEFORE, apart, rival_scores, scoring, spell_kept_before, spell_scoring
from workflow.imports import code_inputs, code_stamp
from workflow.naming import (
    ADAPTIVE,
    CANDIDATES,
    METHOD,
    NOISE,
    PUBLIC_IMAGE_SIZE,
    PUBLIC_NORM_GROUPS,
    ROLE,
    SIGMA,
    adaptive_stage,
    architecture,
    explained_roles,
    explanations,
    finetuning,
    image_size,
    learning_runs,
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
from workflow.needs import needs as first_needs
from workflow.planning import PlanError, class_count, job_needs, known_images, known_shards, rival_stages, run_works
from workflow.shifts import expand, shift_runs, without_shifted
from workflow.sources import absent, file_sha256, stamp, unfit_folder, unfit_weights

gc.set_threshold(100_000, 50, 100)  # a graph of thousands of jobs is no garbage: looking for it takes 15 % of a dry run

try:
    config = expand(config)
    check(config)
except ConfigError as error:
    raise WorkflowError(f"{CONFIG_NAME}: {error}") from None

config, RIVALS, RIVAL_PAIRS = apart(in_order(config))
RIVAL_ENTRIES = [(dataset, name, RIVALS[name]) for dataset, name in RIVAL_PAIRS]
BASELINES = config.get("baselines", {})
RUN = f"results/{config['run']}"
GIVEN_IMAGES = {name: entry.pop("images", None) for name, entry in config["datasets"].items()}  # for plans alone
RATES, PLAN = f"{RUN}/rates.json", f"{RUN}/tables/plan.csv"
SHARDS_NOTE = f"{RUN}/shards.json"
try:
    KNOWN_SHARDS = known_shards(config, RIVAL_ENTRIES, GIVEN_IMAGES, RATES, SHARDS_NOTE)
except (PlanError, InputError) as error:
    raise WorkflowError(f"{CONFIG_NAME}: {error}") from None
SHARDS = KNOWN_SHARDS or 1
PAIRS = sorted({(d, c) for entry in config["evaluate"] for d in entry["datasets"] for c in entry["classifiers"]})
ALL_PAIRS = sorted([*PAIRS, *RIVAL_PAIRS])
MODELS = sorted({config["classifiers"][c]["model"] for _, c in PAIRS})
TRAINED = [name for name, entry in config["models"].items() if "train" in entry]
VQVAES = [name for name in TRAINED if vqvae_owner(config["models"], name) == name]
FINETUNED = [name for name, entry in config["models"].items() if "finetune" in entry]
ADAPTIVES = sorted({c for _, c in PAIRS if adaptive_stage(config["classifiers"][c])})
FIXED = sorted({c for _, c in PAIRS} - set(ADAPTIVES))
CALIBRATED = [  # those that score all classes at all scales in one stage, so that a softmax over them has a meaning
    (d, c)
    for d, c in without_shifted(PAIRS, config)
    if c in FIXED and "calibrate" in config["classifiers"][c] and len(config["classifiers"][c]["funnel"]) == 1
] + [(d, c) for d, c in without_shifted(RIVAL_PAIRS, config) if "calibrate" in RIVALS[c]]
HUB = {
    entry[part]: (name, part) for name, entry in config["models"].items() if "hub" in entry for part in ("vqvae", "var")
}


READING = (
    "manifest",
    "encode",
    "score_baseline",
    "attribute",
    "attribute_network",
    "control",
    "faithfulness",
    "gallery",
)


LEARNING = ("learn_tasks_convnet", "learn_tasks_baseline")  # they read the images to learn, and those of the test


localrules:  # all that needs no GPU: seconds of work, and no job of a cluster's queue
    manifest,
    predict,
    predict_adaptive,
    gflops,
    accuracy,
    pruning,
    prune,
    prune_baseline,
    predict_baseline,
    main,
    cost,
    robustness,
    robustness_paired,
    download,
    calibrate,
    adaptive,
    calibration,
    ablation,
    smoothing,
    incremental,
    explain,
    control,
    explanation,
    gallery,
    plan,


def one_of(names):
    """A wildcard constraint: one of the names."""
    return "|".join(map(re.escape, names)) or r"(?!)"


wildcard_constraints:
    run=config["run"],
    vqvae=r"[\w-]+",
    model=one_of(config["models"]),
    dataset=one_of(config["datasets"]),
    classifier=one_of([*config["classifiers"], *RIVALS]),
    baseline=one_of(BASELINES),
    scoring=r"[\w.-]+",
    candidates=CANDIDATES,
    noise=NOISE,
    adaptive=ADAPTIVE,
    scales=r"\d+",
    precision=r"(-bf16)?",
    guidance=r"[\d.]+",
    shard=r"\d+",
    tasks=r"\d+",
    strategy=r"\w+",
    seed=r"\d+",
    role=ROLE,
    randomised=r"(-randomised)?",
    method=METHOD,
    target=r"label|prediction|\d+",
    against=r"unconditional|runner_up|\d+",
    judge=r"[\w-]+",


def code(script):
    """What stands for the library files that a rule's result depends on: an edit reruns what it touches."""
    return [code_stamp(script, code_inputs(f"scripts/{script}.py", workflow.basedir))]


def dataset_spec(wildcards):
    return config["datasets"][wildcards.dataset]


def class_list(wildcards):
    """The class list file of a data set, where it has one."""
    return config["datasets"][wildcards.dataset].get("classes", [])


def published_file(wildcards):
    """The CSV of published figures, where the config names one."""
    return config.get("published", [])


def listing_files(wildcards):
    """The files that say which images a data set has, and with which labels, beside the images themselves."""
    spec = config["datasets"][wildcards.dataset]
    return [spec[key] for key in ("classes", "labels", "ids") if key in spec and os.path.exists(spec[key])]


def shards_of(folder):
    """The files of all shards in a folder below the run's."""
    return [f"{RUN}/{folder}/{shard}.parquet" for shard in range(SHARDS)]


def full_stage(classifier):
    """Whether a classifier's first stage scores all classes at all scales, in float32, without guidance."""
    first = stages(classifier)[0]
    plain = first.precision == "float32" and not first.guidance
    return plain and first.scales == num_scales(classifier["model"])


def full_scores(model, dataset, sigma, samples):
    """Scores of all classes at all scales: one list of files, all shards of one sample after the other's."""
    folder = f"scores/{model}/{dataset}/all/scales{num_scales(model)}"
    return [file for i in range(samples) for file in shards_of(f"{folder}/{spell_noise(sigma, i)}")]


def full_pairs():
    """(dataset, model) pairs that some classifier scores at all scales for all classes."""
    return sorted(
        {
            (dataset, config["classifiers"][name]["model"])
            for dataset, name in without_shifted(PAIRS, config)
            if name in FIXED and full_stage(config["classifiers"][name])
        }
    )


def tables():
    """All tables and pictures of the run."""
    names = ["accuracy.csv", "cost.csv", "gflops.csv"]
    if RIVAL_PAIRS:
        names += ["main.csv", "main.svg"]
    if len({dataset for dataset, _ in ALL_PAIRS}) > 1:
        names.append("robustness.csv")
    if "shifts" in config:
        names += ["robustness_paired.csv", "robustness.svg"]
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
    if full_pairs() or RIVAL_PAIRS:
        names += ["pruning.csv", "pruning.svg"]
    made = sorted({name for model in MODELS for name in ancestry(model)})
    parts = (("vqvae", VQVAES), ("var", TRAINED), ("finetune", FINETUNED))
    curves = [f"{RUN}/models/{name}/{part}_curve.svg" for name in made for part, having in parts if name in having]
    samples = [f"{RUN}/models/{name}/samples.png" for name in sampled_models()]
    return [f"{RUN}/tables/{name}" for name in names] + curves + samples + maps() + explanation_tables()


def check_sources():
    """Stops a real run, before its first job, where what its jobs read is absent, or the number of shards has changed."""
    jobs = [(job.rule.name, job.wildcards) for job in workflow.dag.needrun_jobs()]
    datasets = {wildcards.dataset for rule, wildcards in jobs if rule in READING}
    datasets |= {baseline_training(wildcards) for rule, wildcards in jobs if rule == "train_baseline"}
    learned = [
        (wildcards.dataset, incremental_entry(wildcards)["data"]) for rule, wildcards in jobs if rule in LEARNING
    ]
    datasets |= {name for pair in learned for name in pair}
    datasets |= {config["judges"][wildcards.judge]["data"] for rule, wildcards in jobs if rule == "train_judge"}
    models = {model_of(wildcards) for rule, wildcards in jobs if rule in ("encode", "tokenize")}
    models |= {
        wildcards.model
        for rule, wildcards in jobs
        if rule in ("score", "score_guided", "score_adaptive", "finetune", "score_tokens", "attribute", "faithfulness")
    }
    models |= {learning_model(wildcards) for rule, wildcards in jobs if rule == "learn_tasks_var"}
    models = {name for model in models for name in ancestry(model)}
    message = absent({name: config["datasets"][name] for name in sorted(datasets)}) or unfit_weights(
        {name: config["models"][name] for name in sorted(models)}
    )
    scoring_baselines = [wildcards.baseline for rule, wildcards in jobs if rule == "score_baseline"]
    judging = [wildcards.judge for rule, wildcards in jobs if rule == "faithfulness"]
    judging += [first_judge(wildcards) for rule, wildcards in jobs if rule == "attribute_network"]
    message = message or absent_rival(scoring_baselines + [RIVALS[n]["baseline"] for n in judging if n in RIVALS])
    if message:
        raise WorkflowError(f"{CONFIG_NAME}: {message}")
    if {name for name, _ in jobs} <= {"manifest", "measure_rates", "plan"}:
        return  # what does not depend on the number of shards
    if KNOWN_SHARDS is None:
        raise WorkflowError(
            f"{CONFIG_NAME}: shards: auto needs a rate; run `snakemake plan` with this config on the device that will "
            f"compute, or set gflops_per_second"
        )
    if message := unfit_folder(RUN, SHARDS):
        raise WorkflowError(f"{CONFIG_NAME}: {message}")


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
    """dataset -> its config entry, or classifier -> its entry (but the rivals'), of all pairs that are evaluated."""
    table = config[key]
    names = {pair[0 if key == "datasets" else 1] for pair in ALL_PAIRS}
    return {name: table[name] for name in sorted(names) if name in table}


def clean_datasets():
    """The evaluated data sets but those that `shifts` makes."""
    return [name for (name,) in without_shifted([(name,) for name in evaluated("datasets")], config)]


def shift_predictions():
    """The predictions that the tables of shifts are made from, in the order of shift_runs."""
    return [f"{RUN}/predictions/{run.classifier}/{run.evaluated}.parquet" for run in shift_runs(config)]


def all_class_lists(wildcards):
    datasets = [*evaluated("datasets").values(), *rival_training().values()]
    return sorted({entry["classes"] for entry in datasets if "classes" in entry})
