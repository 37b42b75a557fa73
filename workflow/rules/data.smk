rule manifest:
    input:
        lists=ask(RUN.listing_files),
        code=code("manifest"),
    output:
        manifest="results/{run}/datasets/{dataset}.parquet",
        left_out="results/{run}/datasets/{dataset}_left_out.csv",
    log:
        "results/{run}/logs/manifest/{dataset}.log",
    resources:
        images=ask(RUN.promised),
    params:
        dataset=ask(RUN.dataset),
        stamp=lambda wildcards: stamp(RUN.dataset(wildcards.dataset)),
    script:
        "../../scripts/manifest.py"


rule check_shard:
    input:
        manifest=rules.manifest.output.manifest,
        code=code("check_shard"),
    output:
        csv="results/{run}/checked/{dataset}/{shard}.csv",
    log:
        "results/{run}/logs/check_shard/{dataset}/{shard}.log",
    priority: 1  # before what takes a GPU
    resources:
        shards=RUN.shards,
    params:
        shard=ask(RUN.shard),
        dataset=ask(RUN.dataset),
    script:
        "../../scripts/check_shard.py"


rule check_data:
    input:
        manifest=rules.manifest.output.manifest,
        shards=lambda wildcards: RUN.checked_shards(wildcards.dataset),
        code=code("check_data"),
    output:
        csv="results/{run}/checked/{dataset}.csv",
    log:
        "results/{run}/logs/check_data/{dataset}.log",
    priority: 1
    script:
        "../../scripts/check_data.py"


rule check_images:
    input:
        RUN.all_checked(),


rule encode:
    input:
        manifest=rules.manifest.output.manifest,
        checked=ask(RUN.checked),
        vqvae=ask(JOBS.vqvae_file),
        code=code("encode"),
    output:
        features="results/{run}/features/{vqvae}/{dataset}/{shard}.parquet",
    log:
        "results/{run}/logs/encode/{vqvae}/{dataset}/{shard}.log",
    resources:
        **gpu_job("encode", mem_mb=16_000, runtime=60),
        batch_size=ask(JOBS.encode_batch),
        shards=RUN.shards,
    params:
        shard=ask(RUN.shard),
        dataset=ask(RUN.dataset),
        checkpoint=ask(JOBS.vqvae_known),
    script:
        "../../scripts/encode.py"


rule tokenize:
    input:
        features=rules.encode.output.features,
        vqvae=ask(JOBS.vqvae_file),
        code=code("tokenize"),
    output:
        tokens="results/{run}/tokens/{vqvae}/{dataset}/{noise}/{shard}.parquet",
    log:
        "results/{run}/logs/tokenize/{vqvae}/{dataset}/{noise}/{shard}.log",
    resources:
        **gpu_job("tokenize", mem_mb=16_000, runtime=60),
        batch_size=ask(JOBS.encode_batch),
    params:
        checkpoint=ask(JOBS.vqvae_known),
        noise=lambda wildcards: RUN.noises[wildcards.noise],
        seed=lambda wildcards: None if wildcards.noise == "clean" else SEED,
    script:
        "../../scripts/tokenize.py"


rule verify:
    input:
        code=code("verify"),
    log:
        RUN.path("logs/verify.log"),
    params:
        folder=RUN.folder,
        began=str(begun(RUN.config.run)),
        stamps=lambda wildcards: {root: stamp(entry) for root, entry in RUN.roots().items()},
    script:
        "../../scripts/verify.py"
