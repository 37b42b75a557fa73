@functools.cache
def family_code(family):
    """What stands for the library files that a family is made of: its own, and all that it imports."""
    file = f"varc/baselines/{family}.py"
    own = os.path.relpath(f"{workflow.basedir}/{file}")
    return [code_stamp(f"family_{family}", sorted({*code_inputs(file, workflow.basedir), own}))]


for entry in BASELINES.values():  # stamps must be there before snakemake looks which files are
    family_code(entry["family"])


def baseline_code(script):
    """What stands for the library files of a rule for one baseline."""
    own = code(script)
    return lambda wildcards: own + family_code(BASELINES[wildcards.baseline]["family"])


def rival_families():
    """The code of all families that are evaluated."""
    return sorted({file for name in rivals_evaluated() for file in family_code(family_of(name))})


def rivals_evaluated():
    """classifier -> its config entry, of the rivals that are evaluated."""
    return {name: RIVALS[name] for name in sorted({name for _, name in RIVAL_PAIRS})}


def family_of(classifier):
    """The family of a rival classifier."""
    return BASELINES[RIVALS[classifier]["baseline"]]["family"]


def public_files(baseline):
    """The files of a baseline's public weights, as far as they are there."""
    folder = baseline["checkpoint"]
    if os.path.isfile(folder):
        return [folder]
    names = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    return sorted(name for name in names if name.endswith((".safetensors", ".json")))


def absent_rival(names):
    """A message for the first of these baselines whose public weights are not there, or None."""
    for name in sorted({name for name in names if "checkpoint" in BASELINES[name]}):
        if not any(file.endswith(".safetensors") for file in public_files(BASELINES[name])):
            found = BASELINES[name]["checkpoint"]
            return f"baselines: {name}: checkpoint: {found}: no safetensors there; put the public folder there"
    return None


def baseline_weights(name):
    """The file of a baseline that is trained here; the files of public weights."""
    if "train" in BASELINES[name]:
        return f"{RUN}/baselines/{name}.safetensors"
    return [ancient(file) for file in public_files(BASELINES[name])]


def public_sha256(wildcards):
    return public_sha256_of(wildcards.baseline)


def public_sha256_of(name):
    """file -> SHA-256 of public weights; empty for a baseline that is trained here."""
    baseline = BASELINES[name]
    return {} if "train" in baseline else {file: file_sha256(file) for file in public_files(baseline)}


def baseline_training(wildcards):
    """The data set that a baseline is trained on."""
    return BASELINES[wildcards.baseline]["train"]["data"]


def stages_of(baseline):
    """The first stage, the first two, ... of each classifier of a baseline."""
    for entry in RIVALS.values():
        if entry["baseline"] == baseline:
            yield from (entry["stages"][:i] for i in range(1, len(entry["stages"]) + 1))


def scored_stages(wildcards):
    """The stage that a baseline's wildcards candidates and scoring spell, after those before it."""
    for stages in stages_of(wildcards.baseline):
        spelt = spell_kept_before(stages[:-1]), spell_scoring(stages[-1])
        if spelt == (wildcards.candidates, wildcards.scoring):
            return stages
    raise WorkflowError(f"no classifier has the stage {wildcards.candidates}/{wildcards.scoring}")


def kept_stages(wildcards):
    """The stage whose best candidates the wildcards spell, after those before it."""
    kept = (stages for stages in stages_of(wildcards.baseline) if "keep" in stages[-1])
    return next(stages for stages in kept if spell_kept_before(stages) == wildcards.candidates)


def score_baseline_inputs(wildcards):
    """What a stage reads for a shard: weights, the list of images, and what an earlier stage scored and kept."""
    baseline, dataset, shard = wildcards.baseline, wildcards.dataset, wildcards.shard
    earlier = scored_stages(wildcards)[:-1]
    files = {"manifest": f"{RUN}/datasets/{dataset}.parquet", "weights": baseline_weights(baseline)}
    if earlier:
        files["candidates"] = f"{RUN}/candidates/{baseline}/{dataset}/{wildcards.candidates}/{shard}.parquet"
        files["earlier"] = f"{RUN}/{rival_scores(baseline, dataset, earlier)}/{shard}.parquet"
    return files


def prune_baseline_scores(wildcards):
    """The one file of scores that a rival's pruning looks at."""
    folder = rival_scores(wildcards.baseline, wildcards.dataset, kept_stages(wildcards))
    return [f"{RUN}/{folder}/{wildcards.shard}.parquet"]


def rival_stage_files(dataset, classifier):
    """Per stage of a rival, the scores of all shards."""
    baseline, stages = RIVALS[classifier]["baseline"], RIVALS[classifier]["stages"]
    return {f"stage{i}": shards_of(rival_scores(baseline, dataset, stages[:i])) for i in range(1, len(stages) + 1)}


def first_stages():
    """(data set, classifier) of the rivals' first stages, each stage once."""
    found = {}
    for dataset, name in without_shifted(RIVAL_PAIRS, config):
        found.setdefault((dataset, RIVALS[name]["baseline"], spell_scoring(RIVALS[name]["stages"][0])), (dataset, name))
    return list(found.values())


def predict_baseline_inputs(wildcards):
    """What a rival's prediction is made of."""
    files = {"manifest": f"{RUN}/datasets/{wildcards.dataset}.parquet", "features": [], "tokens": []}
    return files | rival_stage_files(wildcards.dataset, wildcards.classifier)


def main_rows():
    """What tables/main.csv compares: every classifier on every data set, with the cards of what it was trained into.

    No cards for a model that goes back to public weights, whose training is not known here. Not on the data sets of
    `shifts`, which robustness.csv has, unless there are no others.
    """
    rows, clean = [], without_shifted(ALL_PAIRS, config)
    few = {entry["dataset"] for entry in config.get("shifts", [])}
    for dataset, name in [pair for pair in clean if pair[0] not in few] or clean:
        if name in RIVALS:
            baseline = RIVALS[name]["baseline"]
            made = [f"{RUN}/baselines/{baseline}.json"] if "train" in BASELINES[baseline] else []
            rows.append(
                {"dataset": dataset, "classifier": name, "family": family_of(name), "cards": made, "before": []}
            )
            continue
        model, *before = ancestry(config["classifiers"][name]["model"])
        own, made = [], []
        if origin(config["models"], model) in TRAINED:
            own = [f"{RUN}/models/{model}/var.json", f"{RUN}/models/{vqvae_owner(config['models'], model)}/vqvae.json"]
            made = [f"{RUN}/models/{m}/var.json" for m in before]
        rows.append({"dataset": dataset, "classifier": name, "family": "var", "cards": own, "before": made})
    return rows


def scored_with(classifier):
    """The model, or the baseline, of a classifier."""
    return RIVALS[classifier]["baseline"] if classifier in RIVALS else config["classifiers"][classifier]["model"]


def rival_training():
    """data set -> its config entry, of those that the evaluated rivals are trained on."""
    trained = [BASELINES[entry["baseline"]].get("train") for entry in rivals_evaluated().values()]
    return {train["data"]: config["datasets"][train["data"]] for train in trained if train}
