def training_of(model):
    """How a model came about: "public", "train", "cca" or "cross_entropy"."""
    return next((kind for kind in ("train", "cca", "cross_entropy") if kind in config["models"][model]), "public")


def unpruned(classifier):
    """Whether a classifier is one stage of all classes at all scales."""
    return classifier in FIXED and full_stage(entry := config["classifiers"][classifier]) and len(entry["funnel"]) == 1


def ablation_rows():
    """What tables/ablation.csv compares with the plain classifier: all unpruned ones on its data sets."""
    pairs = without_shifted(PAIRS, config)
    datasets = {dataset for dataset, name in pairs if name == config.get("ablation")}
    rows = []
    for dataset, name in pairs:
        if dataset not in datasets or not unpruned(name):
            continue
        entry = config["classifiers"][name]
        samples = stages(entry)[0].samples
        rows.append(
            {
                "dataset": dataset,
                "classifier": name,
                "model": entry["model"],
                "base": origin(config["models"], entry["model"]),
                "training": training_of(entry["model"]),
                "samples": samples,
                "sigma": spell_sigma(entry["sigma"]) if samples > 1 else "",
            }
        )
    return rows


def ablation_files(wildcards):
    """Per row of the table: the manifest, and the scores of all samples."""
    files = {}
    for i, row in enumerate(ablation_rows()):
        files[f"manifest{i}"] = f"{RUN}/datasets/{row['dataset']}.parquet"
        files[f"scores{i}"] = full_scores(row["model"], row["dataset"], row["sigma"], row["samples"])
    return files


def smoothing_grid():
    """What tables/smoothing.csv has: (dataset, model, sigma as in paths, numbers of samples), each once."""
    counts = {}
    for entry in config.get("smoothing", []):
        for dataset in entry["datasets"]:
            for model in entry["models"]:
                for sigma in entry["sigmas"]:
                    counts.setdefault((dataset, model, spell_sigma(sigma)), set()).update(entry["samples"])
    return [(*key, sorted(found)) for key, found in sorted(counts.items())]


def smoothing_files(wildcards):
    """Per row of the grid: the manifest, and scores and tokens of all samples."""
    files = {}
    for i, (dataset, model, sigma, counts) in enumerate(smoothing_grid()):
        files[f"manifest{i}"] = f"{RUN}/datasets/{dataset}.parquet"
        files[f"scores{i}"] = full_scores(model, dataset, sigma, counts[-1])
        files[f"tokens{i}"] = token_files(model, dataset, sigma, counts[-1])
    return files


def sampled_models():
    """The models whose samples are drawn: the fine-tuned ones and what they come from."""
    return sorted(
        {name for model in MODELS if model in FINETUNED for name in [model, config["models"][model]["finetune"]]}
    )


def sampled_classes(wildcards):
    """The data set whose classes are drawn: the one that a model was trained or fine-tuned on."""
    entry = config["models"][wildcards.model]
    if "train" in entry:
        return entry["train"]["data"]
    users = [wildcards.model, *(m for m in FINETUNED if wildcards.model in ancestry(m))]
    return next(finetuning(config["models"], m)["data"] for m in users if m in FINETUNED)
