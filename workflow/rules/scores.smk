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


rule score:
    input:
        tokens=lambda wildcards: "{}/tokens/{}/{w.dataset}/{w.noise}/{w.shard}.parquet".format(
            RUN, vqvae_of(wildcards.model), w=wildcards
        ),
        candidates=candidates_file,
        classes=class_list,
        vqvae=lambda wildcards: f"{RUN}/models/{vqvae_of(wildcards.model)}/vqvae.safetensors",
        var=RUN + "/models/{model}/var.safetensors",
        code=code("score"),
    output:
        scores=RUN + "/scores/{model}/{dataset}/{candidates}/scales{scales}/{noise}/{shard}.parquet",
    log:
        log_of("score", "model", "dataset", "candidates", "scales", "noise", "shard"),
    resources:
        batch_size=256,
        device="auto",
        gpu=1,
    params:
        dataset=dataset_spec,
    script:
        "../../scripts/score.py"


rule prune:
    input:
        scores=sample_files,
        code=code("prune"),
    output:
        candidates=RUN + "/candidates/{model}/{dataset}/{candidates}/{shard}.parquet",
    log:
        log_of("prune", "model", "dataset", "candidates", "shard"),
    params:
        keep=lambda wildcards: read_candidates(wildcards.candidates)[-1].keep,
    script:
        "../../scripts/prune.py"


rule predict:
    input:
        unpack(funnel_files),
        code=code("predict"),
    output:
        predictions=RUN + "/predictions/{classifier}/{dataset}.parquet",
    log:
        log_of("predict", "classifier", "dataset"),
    params:
        samples=lambda wildcards: [stage.samples for stage in stages(config["classifiers"][wildcards.classifier])],
    script:
        "../../scripts/predict.py"
