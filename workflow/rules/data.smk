rule manifest:
    input:
        lists=listing_files,
        code=code("manifest"),
    output:
        manifest="results/{run}/datasets/{dataset}.parquet",
        left_out="results/{run}/datasets/{dataset}_left_out.csv",
    log:
        "results/{run}/logs/manifest/{dataset}.log",
    conda:
        "../envs/varc.yaml"
    params:
        dataset=dataset_spec,
        stamp=lambda wildcards: stamp(config["datasets"][wildcards.dataset]),
    script:
        "../../scripts/manifest.py"


rule encode:
    input:
        manifest=rules.manifest.output.manifest,
        vqvae=lambda wildcards: weights(model_of(wildcards), "vqvae"),
        code=code("encode"),
    output:
        features="results/{run}/features/{vqvae}/{dataset}/{shard}.parquet",
    log:
        "results/{run}/logs/encode/{vqvae}/{dataset}/{shard}.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("encode"),
        batch_size=encode_batch,
        device="auto",
        gpu=1,
        shards=SHARDS,
    params:
        dataset=dataset_spec,
        checkpoint=lambda wildcards: checkpoint(model_of(wildcards), "vqvae"),
    script:
        "../../scripts/encode.py"


rule tokenize:
    input:
        features=rules.encode.output.features,
        vqvae=lambda wildcards: weights(model_of(wildcards), "vqvae"),
        code=code("tokenize"),
    output:
        tokens="results/{run}/tokens/{vqvae}/{dataset}/{noise}/{shard}.parquet",
    log:
        "results/{run}/logs/tokenize/{vqvae}/{dataset}/{noise}/{shard}.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("tokenize"),
        batch_size=encode_batch,
        device="auto",
        gpu=1,
    params:
        checkpoint=lambda wildcards: checkpoint(model_of(wildcards), "vqvae"),
        noise=lambda wildcards: read_noise(wildcards.noise),
        seed=lambda wildcards: config["seed"] if wildcards.noise != "clean" else None,
    script:
        "../../scripts/tokenize.py"
