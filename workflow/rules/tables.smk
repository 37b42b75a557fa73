rule gflops:
    input:
        classes=TABLES.class_lists(),
        published=TABLES.published(),
        checkpoints=ask(TABLES.shape_files),
        adaptive=TABLES.adaptive_scores(),
        families=FAMILIES,
        code=code("gflops"),
    output:
        csv=report("results/{run}/tables/gflops.csv", category="Tables", caption="../report/gflops.rst"),
        markdown="results/{run}/tables/gflops.md",
    log:
        "results/{run}/logs/gflops.log",
    conda:
        "../envs/varc.yaml"
    params:
        **TABLES.gflops_params(),
    script:
        "../../scripts/gflops.py"


rule accuracy:
    input:
        gflops=rules.gflops.output.csv,
        predictions=RUN.predictions(RUN.pairs),
        code=code("accuracy"),
    output:
        csv=report("results/{run}/tables/accuracy.csv", category="Tables", caption="../report/accuracy.rst"),
        markdown="results/{run}/tables/accuracy.md",
    log:
        "results/{run}/logs/accuracy.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=RUN.pairs,
        adaptive=sorted({name for _, name in TABLES.adaptive_pairs()}),
        models=TABLES.scored_with(),
    script:
        "../../scripts/accuracy.py"


rule cost:
    input:
        gflops=rules.gflops.output.csv,
        predictions=RUN.predictions(RUN.pairs),
        plan=TABLES.plan(),
        code=code("cost"),
    output:
        csv=report("results/{run}/tables/cost.csv", category="Tables", caption="../report/cost.rst"),
        markdown="results/{run}/tables/cost.md",
    log:
        "results/{run}/logs/cost.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=RUN.pairs,
    script:
        "../../scripts/cost.py"


rule robustness:
    input:
        accuracy=rules.accuracy.output.csv,
        left_out=[RUN.left_out(dataset) for dataset in TABLES.clean_datasets()],
        predictions=TABLES.shift_predictions(),
        published=TABLES.published(),
        code=code("robustness"),
    output:
        csv=report("results/{run}/tables/robustness.csv", category="Tables", caption="../report/robustness.rst"),
        markdown="results/{run}/tables/robustness.md",
    log:
        "results/{run}/logs/robustness.log",
    conda:
        "../envs/varc.yaml"
    params:
        datasets=TABLES.clean_datasets(),
        runs=TABLES.shift_rows(),
    script:
        "../../scripts/robustness.py"


rule robustness_paired:
    input:
        table=rules.robustness.output.csv,
        predictions=TABLES.shift_predictions(),
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
        runs=TABLES.shift_rows(),
    script:
        "../../scripts/robustness_paired.py"


rule pruning:
    input:
        unpack(ask(TABLES.pruning_inputs)),
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
        pairs=TABLES.full_pairs(),
        rivals=TABLES.first_stages(),
        shapes=TABLES.shapes(),
    script:
        "../../scripts/pruning.py"
