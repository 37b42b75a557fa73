rule gflops:
    input:
        classes=all_class_lists,
        code=code("gflops"),
    output:
        csv=report("results/{run}/tables/gflops.csv", category="Tables", caption="../report/gflops.rst"),
        markdown="results/{run}/tables/gflops.md",
    log:
        "results/{run}/logs/gflops.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=PAIRS,
        datasets=evaluated("datasets"),
        classifiers=evaluated("classifiers"),
        architectures=architectures(),
    script:
        "../../scripts/gflops.py"


rule accuracy:
    input:
        gflops=rules.gflops.output.csv,
        predictions=[f"{RUN}/predictions/{classifier}/{dataset}.parquet" for dataset, classifier in PAIRS],
        code=code("accuracy"),
    output:
        csv=report("results/{run}/tables/accuracy.csv", category="Tables", caption="../report/accuracy.rst"),
        markdown="results/{run}/tables/accuracy.md",
    log:
        "results/{run}/logs/accuracy.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=PAIRS,
        models={name: entry["model"] for name, entry in evaluated("classifiers").items()},
    script:
        "../../scripts/accuracy.py"


rule pruning:
    input:
        manifests=[f"{RUN}/datasets/{dataset}.parquet" for dataset, _ in full_pairs()],
        scores=[
            file
            for dataset, model in full_pairs()
            for file in shards_of(f"scores/{model}/{dataset}/all/scales{num_scales(model)}/clean")
        ],
        code=code("pruning"),
    output:
        csv=report("results/{run}/tables/pruning.csv", category="Tables", caption="../report/pruning.rst"),
        markdown="results/{run}/tables/pruning.md",
        plot=report("results/{run}/tables/pruning.svg", category="Tables", caption="../report/pruning_plot.rst"),
    log:
        "results/{run}/logs/pruning.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=full_pairs(),
        architectures=architectures(),
    script:
        "../../scripts/pruning.py"
