rule gflops:
    input:
        classes=RUN.class_lists(RUN.evaluated()),
        published=PUBLISHED,
        checkpoints=ask(CHECKPOINTS.shape_files, models=RUN.models),
        open_scores=TABLES.open_scores(),
        families=FAMILIES,
        code=code("gflops"),
    output:
        **table("gflops"),
    log:
        "results/{run}/logs/gflops.log",
    params:
        **TABLES.gflops_params(),
    script:
        "../../scripts/gflops.py"


rule accuracy:
    input:
        gflops=rules.gflops.output.csv,
        predictions=RUN.predictions(RUN.pairs),
        manifests=[RUN.manifest(dataset) for dataset, _ in RUN.pairs],
        left_out=[RUN.left_out(dataset) for dataset, _ in RUN.pairs],
        code=code("accuracy"),
    output:
        **table("accuracy"),
    log:
        "results/{run}/logs/accuracy.log",
    params:
        pairs=RUN.pairs,
        open=sorted({name for _, name in TABLES.open_pairs()}),
        models={name: RUN.funnels[name][0].scorer for _, name in RUN.pairs},
    script:
        "../../scripts/accuracy.py"


rule per_class:
    input:
        predictions=RUN.predictions(TABLES.main_pairs()),
        manifests=[RUN.manifest(dataset) for dataset, _ in TABLES.main_pairs()],
        classes=RUN.class_lists(RUN.evaluated()),
        code=code("per_class"),
    output:
        **table("per_class"),
    log:
        "results/{run}/logs/per_class.log",
    params:
        pairs=TABLES.main_pairs(),
        datasets={dataset: RUN.dataset(dataset) for dataset, _ in TABLES.main_pairs()},
    script:
        "../../scripts/per_class.py"


rule confusion:
    input:
        predictions=RUN.predictions(TABLES.main_pairs()),
        manifests=[RUN.manifest(dataset) for dataset, _ in TABLES.main_pairs()],
        classes=RUN.class_lists(RUN.evaluated()),
        code=code("confusion"),
    output:
        **table("confusion"),
        plot="results/{run}/tables/confusion.svg",
    log:
        "results/{run}/logs/confusion.log",
    params:
        pairs=TABLES.main_pairs(),
        datasets={dataset: RUN.dataset(dataset) for dataset, _ in TABLES.main_pairs()},
    script:
        "../../scripts/confusion.py"


rule cost:
    input:
        gflops=rules.gflops.output.csv,
        predictions=RUN.predictions(RUN.pairs),
        plan=TABLES.plan(),
        code=code("cost"),
    output:
        **table("cost"),
    log:
        "results/{run}/logs/cost.log",
    params:
        pairs=RUN.pairs,
    script:
        "../../scripts/cost.py"


rule robustness:
    input:
        accuracy=rules.accuracy.output.csv,
        left_out=[RUN.left_out(dataset) for dataset in TABLES.clean_datasets()],
        predictions=TABLES.shift_predictions(),
        manifests=TABLES.shift_manifests(),
        published=PUBLISHED,
        code=code("robustness"),
    output:
        **table("robustness"),
    log:
        "results/{run}/logs/robustness.log",
    params:
        datasets=TABLES.clean_datasets(),
        runs=TABLES.shift_rows(),
    script:
        "../../scripts/robustness.py"


rule robustness_paired:
    input:
        table=rules.robustness.output.csv,
        predictions=TABLES.shift_predictions(),
        manifests=TABLES.shift_manifests(),
        code=code("robustness_paired"),
    output:
        **table("robustness_paired"),
        plot="results/{run}/tables/robustness.svg",
    log:
        "results/{run}/logs/robustness_paired.log",
    params:
        runs=TABLES.shift_rows(),
    script:
        "../../scripts/robustness_paired.py"


rule scale_weights:
    input:
        weights=[RUN.path(f"scale_weights/{model}/{dataset}.json") for model, dataset in RUN.fits()],
        code=code("scale_weights"),
    output:
        **table("scale_weights"),
    log:
        "results/{run}/logs/scale_weights.log",
    params:
        fits=RUN.fits(),
    script:
        "../../scripts/scale_weights.py"


rule pruning:
    input:
        unpack(ask(TABLES.pruning_inputs)),
        code=code("pruning"),
    output:
        **table("pruning"),
        plot="results/{run}/tables/pruning.svg",
    log:
        "results/{run}/logs/pruning.log",
    params:
        pairs=TABLES.full_pairs(),
        rivals=TABLES.rival_firsts(),
        shapes=CHECKPOINTS.shapes(RUN.models),
    script:
        "../../scripts/pruning.py"
