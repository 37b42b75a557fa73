rule ablation:
    input:
        unpack(ask(TABLES.ablation_inputs)),
        gflops=rules.gflops.output.csv,
        published=PUBLISHED,
        code=code("ablation"),
    output:
        **table("ablation"),
    log:
        "results/{run}/logs/ablation.log",
    params:
        rows=TABLES.ablation_rows(),
        plain=RUN.config.ablation,
        tokens=TABLES.tokens_of_models(),
    script:
        "../../scripts/ablation.py"


rule smoothing:
    input:
        unpack(ask(TABLES.smoothing_inputs)),
        code=code("smoothing"),
    output:
        **table("smoothing"),
        plot="results/{run}/tables/smoothing.svg",
    log:
        "results/{run}/logs/smoothing.log",
    params:
        grid=RUN.smoothing_grid(),
    script:
        "../../scripts/smoothing.py"


rule sample:
    input:
        unpack(ask(CHECKPOINTS.both)),
        classes=ask(JOBS.sampled_dataset, then=RUN.class_list),
        code=code("sample"),
    output:
        picture="results/{run}/models/{model}/samples.png",
    log:
        "results/{run}/logs/sample/{model}.log",
    resources:
        **gpu_job("sample", mem_mb=16_000, runtime=30),
    params:
        **WEIGHTS_KNOWN,
        dataset=ask(JOBS.sampled_dataset, then=RUN.dataset),
        seed=SEED,
    script:
        "../../scripts/sample.py"
