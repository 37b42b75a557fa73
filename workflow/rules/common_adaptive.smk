def adaptive_classifier(wildcards):
    """The classifier whose adaptive stage the wildcards model and adaptive spell."""
    classifiers = (config["classifiers"][name] for name in ADAPTIVES)
    return next(c for c in classifiers if (c["model"], spell_adaptive(c)) == (wildcards.model, wildcards.adaptive))


def calibration_files(wildcards):
    """What thresholds come from: scores of all classes at all scales and samples, on the calibration images."""
    classifier, dataset = adaptive_classifier(wildcards), wildcards.dataset
    samples = adaptive_stage(classifier)["samples"]
    return {
        "manifest": f"{RUN}/datasets/{dataset}.parquet",
        "scores": full_scores(wildcards.model, dataset, spell_sigma(classifier.get("sigma")), samples),
    }


def adaptive_inputs(wildcards):
    """What an adaptive stage reads for a shard: tokens of all samples, the model, and its thresholds."""
    classifier, model = adaptive_classifier(wildcards), wildcards.model
    folder = f"{RUN}/tokens/{vqvae_of(model)}/{wildcards.dataset}"
    sigma, samples = spell_sigma(classifier.get("sigma")), adaptive_stage(classifier)["samples"]
    return {
        "tokens": [f"{folder}/{spell_noise(sigma, i)}/{wildcards.shard}.parquet" for i in range(samples)],
        "vqvae": weights(model, "vqvae"),
        "var": weights(model, "var"),
        "thresholds": f"{RUN}/thresholds/{model}/{classifier['calibrate']}/{wildcards.adaptive}.json",
        "manifest": f"{RUN}/datasets/{wildcards.dataset}.parquet",
        "calibration": f"{RUN}/datasets/{classifier['calibrate']}.parquet",
    }


def adaptive_scores(classifier, dataset):
    """The score files of an adaptive classifier, all shards."""
    entry = config["classifiers"][classifier]
    return shards_of(f"scores/{entry['model']}/{dataset}/all/{spell_adaptive(entry)}")


def adaptive_files(wildcards):
    """All that a prediction of an adaptive classifier is made of."""
    classifier, dataset = config["classifiers"][wildcards.classifier], wildcards.dataset
    model, sigma = classifier["model"], spell_sigma(classifier.get("sigma"))
    return {
        "manifest": f"{RUN}/datasets/{dataset}.parquet",
        "features": shards_of(f"features/{vqvae_of(model)}/{dataset}"),
        "tokens": token_files(model, dataset, sigma, adaptive_stage(classifier)["samples"]),
        "scores": adaptive_scores(wildcards.classifier, dataset),
    }


def reference_classifier(dataset, classifier):
    """The fixed funnel that an adaptive one is compared with: of those of its model on the data set, the longest."""
    model = config["classifiers"][classifier]["model"]
    same = [c for d, c in PAIRS if d == dataset and c in FIXED and config["classifiers"][c]["model"] == model]
    return max(same, key=lambda name: len(config["classifiers"][name]["funnel"]), default=None)


def adaptive_table_rows():
    """What tables/adaptive.csv compares: (dataset, adaptive classifier, its settings, the fixed funnel beside it)."""
    return [
        {"dataset": d, "classifier": c, "reference": reference_classifier(d, c), **config["classifiers"][c]}
        for d, c in without_shifted(PAIRS, config)
        if c in ADAPTIVES
    ]


def adaptive_table_files(wildcards):
    """Per row of the table: manifests and full scores of the evaluated and the calibration images, a prediction."""
    files = {}
    for i, row in enumerate(adaptive_table_rows()):
        sigma, samples = spell_sigma(row.get("sigma")), adaptive_stage(row)["samples"]
        for kind, dataset in (("test", row["dataset"]), ("calibration", row["calibrate"])):
            files[f"{kind}_manifest{i}"] = f"{RUN}/datasets/{dataset}.parquet"
            files[f"{kind}_scores{i}"] = full_scores(row["model"], dataset, sigma, samples)
        if row["reference"]:
            files[f"reference{i}"] = f"{RUN}/predictions/{row['reference']}/{row['dataset']}.parquet"
    return files


def calibration_table_files(wildcards):
    """Per pair of CALIBRATED: manifests and full scores of the evaluated and of the calibration images."""
    files = {}
    for i, (dataset, name) in enumerate(CALIBRATED):
        entry = RIVALS.get(name) or config["classifiers"][name]
        for kind, images in (("test", dataset), ("calibration", entry["calibrate"])):
            files[f"{kind}_manifest{i}"] = f"{RUN}/datasets/{images}.parquet"
            files[f"{kind}_scores{i}"] = unpruned_scores(entry, images)
    return files


def unpruned_scores(entry, dataset):
    """The scores of all classes of a classifier of one stage: of all samples, all shards."""
    if "baseline" in entry:
        return shards_of(rival_scores(entry["baseline"], dataset, entry["stages"]))
    samples, sigma = stages(entry)[0].samples, spell_sigma(entry.get("sigma"))
    return full_scores(entry["model"], dataset, sigma, samples)
