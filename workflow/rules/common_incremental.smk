def learning(classifier):
    """How a classifier's model learns: its origin's training and its CCA, as far as the config says."""
    model = config["classifiers"][classifier]["model"]
    start = config["models"][origin(config["models"], model)]
    return start.get("train", {}).get("var"), finetuning(config["models"], model)


def incremental_entry(wildcards):
    """The entry of `incremental` that the wildcards are of."""
    return next(
        entry
        for entry in config["incremental"]
        if (entry["classifier"], entry["test"]) == (wildcards.classifier, wildcards.dataset)
        and int(wildcards.tasks) in entry["tasks"]
        and wildcards.strategy in entry["strategies"]
    )


def incremental_training(wildcards):
    """The training settings: those of the entry, else those of the model that the classifier's model comes from."""
    entry = incremental_entry(wildcards)
    return {"samples": 1} | entry.get("train", {}) if "train" in entry else learning(wildcards.classifier)[0]


def learn_tasks_inputs(wildcards):
    """Images, and for the VAR's strategies tokens and the public weights that it starts from, if any."""
    entry = incremental_entry(wildcards)
    classifier = config["classifiers"][wildcards.classifier]
    model = classifier["model"]
    files = {
        "train_manifest": f"{RUN}/datasets/{entry['data']}.parquet",
        "test_manifest": f"{RUN}/datasets/{entry['test']}.parquet",
        "classes": config["datasets"][entry["data"]].get("classes", []),
        "vqvae": weights(model, "vqvae"),
    }
    if not wildcards.strategy.startswith("var_"):
        return files
    train, start = incremental_training(wildcards), origin(config["models"], model)
    return files | {
        "train_tokens": sum(samples_of(model, entry["data"], train["samples"], train.get("sigma")), []),
        "test_tokens": sum(samples_of(model, entry["test"], funnel_samples(classifier), classifier.get("sigma")), []),
        "var": [] if start in TRAINED else weights(start, "var"),
    }


def funnel_samples(classifier):
    """The most samples of a funnel's stages."""
    return max(stage["samples"] for stage in classifier["funnel"])


def incremental_rows():
    """What tables/incremental.csv compares: one entry per data set, number of tasks and strategy."""
    return [
        {"dataset": entry["test"], "classifier": entry["classifier"], "tasks": tasks, "strategy": strategy}
        for entry in config.get("incremental", [])
        for tasks in entry["tasks"]
        for strategy in entry["strategies"]
    ]


def incremental_files(wildcards):
    """Per row of the table, the runs of all seeds."""
    seeds = {(entry["test"], entry["classifier"]): entry["seeds"] for entry in config["incremental"]}
    return {
        f"runs{i}": [
            "{}/incremental/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.parquet".format(RUN, seed=seed, **row)
            for seed in range(seeds[row["dataset"], row["classifier"]])
        ]
        for i, row in enumerate(incremental_rows())
    }
