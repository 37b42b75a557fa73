rule ablation:
    input:
        unpack(ablation_files),
        gflops=rules.gflops.output.csv,
        published=published_file,
        code=code("ablation"),
    output:
        csv=report("results/{run}/tables/ablation.csv", category="Tables", caption="../report/ablation.rst"),
        markdown="results/{run}/tables/ablation.md",
    log:
        "results/{run}/logs/ablation.log",
    conda:
        "../envs/varc.yaml"
    params:
        rows=ablation_rows(),
        plain=lambda wildcards: config.get("ablation"),
        tokens={name: sum(p * p for p in patch_nums(config["models"], name)) for name in MODELS},
    script:
        "../../scripts/ablation.py"


rule smoothing:
    input:
        unpack(smoothing_files),
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
        grid=smoothing_grid(),
    script:
        "../../scripts/smoothing.py"


rule sample:
    input:
        vqvae=lambda wildcards: weights(wildcards.model, "vqvae"),
        var=lambda wildcards: weights(wildcards.model, "var"),
        classes=lambda wildcards: config["datasets"][sampled_classes(wildcards)].get("classes", []),
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
        **needs("sample"),
        device="auto",
        gpu=1,
    params:
        dataset=lambda wildcards: config["datasets"][sampled_classes(wildcards)],
        vqvae_checkpoint=lambda wildcards: checkpoint(wildcards.model, "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(wildcards.model, "var"),
        seed=config["seed"],
    script:
        "../../scripts/sample.py"
