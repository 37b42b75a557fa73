def learning_model(wildcards):
    """The model of a classifier that learns task by task."""
    return config["classifiers"][wildcards.classifier]["model"]


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
    return entry.get("train") or config["models"][origin(config["models"], learning_model(wildcards))]["train"]["var"]


def learn_tasks_inputs(wildcards):
    """The images to learn and those to be tested on."""
    entry = incremental_entry(wildcards)
    return {
        "train_manifest": f"{RUN}/datasets/{entry['data']}.parquet",
        "test_manifest": f"{RUN}/datasets/{entry['test']}.parquet",
        "classes": config["datasets"][entry["data"]].get("classes", []),
    }


def learn_tasks_var_inputs(wildcards):
    """Also their tokens, the VQ-VAE, and the public weights that a VAR starts from, if any."""
    entry, train = incremental_entry(wildcards), incremental_training(wildcards)
    train_sigma = spell_sigma(train.get("sigma"))
    classifier, model = config["classifiers"][wildcards.classifier], learning_model(wildcards)
    start, sigma = origin(config["models"], model), spell_sigma(classifier.get("sigma"))
    return learn_tasks_inputs(wildcards) | {
        "vqvae": weights(model, "vqvae"),
        "var": [] if start in TRAINED else weights(start, "var"),
        "train_tokens": token_files(model, entry["data"], train_sigma, train["samples"]),
        "test_tokens": token_files(model, entry["test"], sigma, funnel_samples(classifier)),
    }


def learning_code(script):
    """What stands for the library files of a rule in which a rival learns, its family's included."""
    own = code(script)
    return lambda wildcards: own + family_code(family_of(wildcards.classifier))


def funnel_samples(classifier):
    """The most samples of a funnel's stages."""
    return max(stage["samples"] for stage in classifier["funnel"])


def learning_family(classifier, strategy):
    """The family of what learns: a rival's, the VAR, or the convolutional network."""
    if classifier in RIVALS:
        return family_of(classifier)
    return "var" if strategy.startswith("var_") else "convnet"


def incremental_rows():
    """What tables/incremental.csv compares: one row per data set, classifier, number of tasks and strategy."""
    return [
        {
            "dataset": entry["test"],
            "classifier": entry["classifier"],
            "family": learning_family(entry["classifier"], strategy),
            "tasks": tasks,
            "strategy": strategy,
        }
        for entry, tasks, strategy in learning_runs(config)
    ]


def incremental_files(wildcards):
    """Per row of the table, the runs of all seeds."""
    return {
        f"runs{i}": [
            f"{RUN}/incremental/{entry['classifier']}/{entry['test']}/{tasks}/{strategy}/{seed}.parquet"
            for seed in range(entry["seeds"])
        ]
        for i, (entry, tasks, strategy) in enumerate(learning_runs(config))
    }
