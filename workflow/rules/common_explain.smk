def maps_of(entry):
    """The files of an entry of `explain`: per data set, model and method, all shards."""
    folder = f"{entry['target']}-vs-{entry['against']}"
    return [
        file
        for dataset in entry["datasets"]
        for model in entry["models"]
        for method in entry["methods"]
        for file in shards_of(f"maps/{model}/{dataset}/{method}/{folder}")
    ]


def explain_entry(wildcards):
    """The entry of `explain` that the wildcards are of."""
    return next(
        entry
        for entry in config["explain"]
        if wildcards.dataset in entry["datasets"]
        and wildcards.model in entry["models"]
        and (wildcards.target, wildcards.against) == (str(entry["target"]), str(entry["against"]))
    )


def explain_inputs(wildcards):
    """Clean tokens and labels of a shard; the scores of all classes, where they choose target or against."""
    entry, model, dataset = explain_entry(wildcards), wildcards.model, wildcards.dataset
    chosen = entry["target"] == "prediction" or entry["against"] == "runner_up"
    folder = f"{RUN}/scores/{model}/{dataset}/all/scales{num_scales(model)}/clean"
    return {
        "manifest": f"{RUN}/datasets/{dataset}.parquet",
        "tokens": f"{RUN}/tokens/{vqvae_of(model)}/{dataset}/clean/{wildcards.shard}.parquet",
        "scores": f"{folder}/{wildcards.shard}.parquet" if chosen else [],
        "vqvae": weights(model, "vqvae"),
        "var": weights(model, "var"),
    }
