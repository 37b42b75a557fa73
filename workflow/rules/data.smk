rule manifest:
    input:
        classes=class_list,
        code=code("manifest"),
    output:
        manifest=RUN + "/datasets/{dataset}.parquet",
    log:
        log_of("manifest", "dataset"),
    params:
        dataset=dataset_spec,
        stamp=lambda wildcards: stamp(config["datasets"][wildcards.dataset]),
    script:
        "../../scripts/manifest.py"


rule encode:
    input:
        manifest=rules.manifest.output.manifest,
        vqvae=RUN + "/models/{vqvae}/vqvae.safetensors",
        code=code("encode"),
    output:
        features=RUN + "/features/{vqvae}/{dataset}/{shard}.parquet",
    log:
        log_of("encode", "vqvae", "dataset", "shard"),
    resources:
        batch_size=256,
        device="auto",
        gpu=1,
        shards=SHARDS,
    params:
        dataset=dataset_spec,
    script:
        "../../scripts/encode.py"


rule tokenize:
    input:
        features=rules.encode.output.features,
        vqvae=RUN + "/models/{vqvae}/vqvae.safetensors",
        code=code("tokenize"),
    output:
        tokens=RUN + "/tokens/{vqvae}/{dataset}/{noise}/{shard}.parquet",
    log:
        log_of("tokenize", "vqvae", "dataset", "noise", "shard"),
    resources:
        batch_size=256,
        device="auto",
        gpu=1,
    params:
        noise=lambda wildcards: read_noise(wildcards.noise),
        seed=lambda wildcards: config["seed"] if wildcards.noise != "clean" else None,
    script:
        "../../scripts/tokenize.py"
