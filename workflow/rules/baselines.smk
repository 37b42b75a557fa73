rule train_baseline:
    input:
        manifest=ask(CHECKPOINTS.baseline_data, then=RUN.manifest),
        checked=ask(CHECKPOINTS.baseline_data, then=RUN.checked),
        classes=ask(CHECKPOINTS.baseline_data, then=RUN.class_list),
        code=code("train_baseline", ask(CHECKPOINTS.family)),
    output:
        weights="results/{run}/baselines/{baseline}.safetensors",
        card="results/{run}/baselines/{baseline}.json",
    log:
        "results/{run}/logs/train_baseline/{baseline}.log",
    threads: 2
    resources:
        **gpu_job("train_baseline", mem_mb=16_000, runtime=480),
    params:
        baseline=ask(CHECKPOINTS.baseline),
        dataset=ask(CHECKPOINTS.baseline_data, then=RUN.dataset),
        seed=SEED,
    script:
        "../../scripts/train_baseline.py"


rule score_baseline:
    input:
        unpack(ask(JOBS.score_baseline_inputs)),
        code=code("score_baseline", ask(CHECKPOINTS.family)),
    output:
        scores="results/{run}/scores/{baseline}/{dataset}/{candidates}/{stage}/{shard}.parquet",
    log:
        "results/{run}/logs/score_baseline/{baseline}/{dataset}/{candidates}/{stage}/{shard}.log",
    resources:
        **gpu_job("score_baseline", mem_mb=16_000, runtime=240),
        shards=RUN.shards,
    params:
        shard=ask(RUN.shard),
        baseline=ask(CHECKPOINTS.baseline),
        dataset=ask(RUN.dataset),
        scorings=ask(JOBS.scorings),
        sample=ask(JOBS.sample),
        public_sha256=ask(CHECKPOINTS.public_sha256),
        seed=SEED,
    script:
        "../../scripts/score_baseline.py"


rule score_baseline_adaptive:
    input:
        unpack(ask(JOBS.score_baseline_adaptive_inputs)),
        code=code("score_baseline_adaptive", ask(CHECKPOINTS.family)),
    output:
        scores="results/{run}/scores/{baseline}/{dataset}/all/{stage}/{shard}.parquet",
    log:
        "results/{run}/logs/score_baseline_adaptive/{baseline}/{dataset}/{stage}/{shard}.log",
    wildcard_constraints:
        stage=one_of(RUN.adaptive_names()),
    resources:
        **gpu_job("score_baseline_adaptive", mem_mb=16_000, runtime=240),
        shards=RUN.shards,
    params:
        shard=ask(RUN.shard),
        baseline=ask(CHECKPOINTS.baseline),
        dataset=ask(RUN.dataset),
        adaptive=ask(JOBS.adaptive_rival, get="scoring"),
        public_sha256=ask(CHECKPOINTS.public_sha256),
        seed=SEED,
    script:
        "../../scripts/score_baseline_adaptive.py"


rule main:
    input:
        accuracy=rules.accuracy.output.csv,
        cards=TABLES.main_cards(),
        published=PUBLISHED,
        code=code("main"),
    output:
        **table("main"),
        plot="results/{run}/tables/main.svg",
    log:
        "results/{run}/logs/main.log",
    params:
        rows=TABLES.main_rows(),
    script:
        "../../scripts/main.py"


rule main_paired:
    input:
        predictions=RUN.predictions(TABLES.main_pairs()),
        manifests=[RUN.manifest(dataset) for dataset, _ in TABLES.main_pairs()],
        code=code("main_paired"),
    output:
        **table("main_paired"),
    log:
        "results/{run}/logs/main_paired.log",
    params:
        pairs=TABLES.main_pairs(),
    script:
        "../../scripts/main_paired.py"
