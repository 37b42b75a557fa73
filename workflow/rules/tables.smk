rule gflops:
    input:
        classes=all_class_lists,
        published=published_file,
        checkpoints=shape_files,
        adaptive=[file for dataset, name in PAIRS if name in ADAPTIVES for file in adaptive_scores(name, dataset)],
        families=rival_families(),
        code=code("gflops"),
    output:
        csv=report("results/{run}/tables/gflops.csv", category="Tables", caption="../report/gflops.rst"),
        markdown="results/{run}/tables/gflops.md",
    log:
        "results/{run}/logs/gflops.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=ALL_PAIRS,
        shards=SHARDS if ADAPTIVES else 0,
        datasets=evaluated("datasets"),
        classifiers=evaluated("classifiers"),
        rivals=rivals_evaluated(),
        baselines={name: BASELINES[name] for name in sorted({e["baseline"] for e in rivals_evaluated().values()})},
        training=rival_training(),
        shapes=shapes(),
    script:
        "../../scripts/gflops.py"


rule accuracy:
    input:
        gflops=rules.gflops.output.csv,
        predictions=[f"{RUN}/predictions/{classifier}/{dataset}.parquet" for dataset, classifier in ALL_PAIRS],
        code=code("accuracy"),
    output:
        csv=report("results/{run}/tables/accuracy.csv", category="Tables", caption="../report/accuracy.rst"),
        markdown="results/{run}/tables/accuracy.md",
    log:
        "results/{run}/logs/accuracy.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=ALL_PAIRS,
        adaptive=ADAPTIVES,
        models={name: scored_with(name) for _, name in ALL_PAIRS},
    script:
        "../../scripts/accuracy.py"


rule cost:
    input:
        gflops=rules.gflops.output.csv,
        predictions=[f"{RUN}/predictions/{classifier}/{dataset}.parquet" for dataset, classifier in ALL_PAIRS],
        plan=PLAN if os.path.exists(PLAN) else [],
        code=code("cost"),
    output:
        csv=report("results/{run}/tables/cost.csv", category="Tables", caption="../report/cost.rst"),
        markdown="results/{run}/tables/cost.md",
    log:
        "results/{run}/logs/cost.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=ALL_PAIRS,
    script:
        "../../scripts/cost.py"


rule robustness:
    input:
        accuracy=rules.accuracy.output.csv,
        left_out=[f"{RUN}/datasets/{dataset}_left_out.csv" for dataset in clean_datasets()],
        predictions=shift_predictions(),
        published=published_file,
        code=code("robustness"),
    output:
        csv=report("results/{run}/tables/robustness.csv", category="Tables", caption="../report/robustness.rst"),
        markdown="results/{run}/tables/robustness.md",
    log:
        "results/{run}/logs/robustness.log",
    conda:
        "../envs/varc.yaml"
    params:
        datasets=clean_datasets(),
        runs=[run[:4] for run in shift_runs(config)],
    script:
        "../../scripts/robustness.py"


rule robustness_paired:
    input:
        table=rules.robustness.output.csv,
        predictions=shift_predictions(),
        code=code("robustness_paired"),
    output:
        csv=report(
            "results/{run}/tables/robustness_paired.csv", category="Tables", caption="../report/robustness_paired.rst"
        ),
        markdown="results/{run}/tables/robustness_paired.md",
        plot=report("results/{run}/tables/robustness.svg", category="Tables", caption="../report/robustness_plot.rst"),
    log:
        "results/{run}/logs/robustness_paired.log",
    conda:
        "../envs/varc.yaml"
    params:
        runs=[run[:4] for run in shift_runs(config)],
    script:
        "../../scripts/robustness_paired.py"


rule pruning:
    input:
        manifests=[f"{RUN}/datasets/{dataset}.parquet" for dataset, _ in full_pairs()],
        scores=[
            file
            for dataset, model in full_pairs()
            for file in shards_of(f"scores/{model}/{dataset}/all/scales{num_scales(model)}/clean")
        ],
        rival_manifests=[f"{RUN}/datasets/{dataset}.parquet" for dataset, _ in first_stages()],
        rival_scores=[
            file
            for dataset, name in first_stages()
            for file in shards_of(rival_scores(RIVALS[name]["baseline"], dataset, RIVALS[name]["stages"][:1]))
        ],
        gflops=rules.gflops.output.csv if RIVAL_PAIRS else [],
        checkpoints=shape_files,
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
        rivals=first_stages(),
        shapes=shapes(),
    script:
        "../../scripts/pruning.py"
