rule ablation:
    input:
        unpack(ask(TABLES.ablation_inputs)),
        gflops=rules.gflops.output.csv,
        published=TABLES.published(),
        code=code("ablation"),
    output:
        csv=report("results/{run}/tables/ablation.csv", category="Tables", caption="../report/ablation.rst"),
        markdown="results/{run}/tables/ablation.md",
    log:
        "results/{run}/logs/ablation.log",
    conda:
        "../envs/varc.yaml"
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
        csv=report("results/{run}/tables/smoothing.csv", category="Tables", caption="../report/smoothing.rst"),
        markdown="results/{run}/tables/smoothing.md",
        plot=report("results/{run}/tables/smoothing.svg", category="Tables", caption="../report/smoothing.rst"),
    log:
        "results/{run}/logs/smoothing.log",
    conda:
        "../envs/varc.yaml"
    params:
        grid=RUN.smoothing_grid(),
    script:
        "../../scripts/smoothing.py"


rule sample:
    input:
        unpack(ask(JOBS.sample_inputs)),
        code=code("sample"),
    output:
        picture=report(
            "results/{run}/models/{model}/samples.png",
            category="Samples",
            caption="../report/samples.rst",
        ),
    log:
        "results/{run}/logs/sample/{model}.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **gpu_job("sample", mem_mb=16_000, runtime=30),
    params:
        dataset=ask(JOBS.sample_dataset),
        vqvae_checkpoint=ask(CHECKPOINTS.checkpoint, part="vqvae"),
        var_checkpoint=ask(CHECKPOINTS.checkpoint, part="var"),
        seed=SEED,
    script:
        "../../scripts/sample.py"
