rule train_baseline:
    input:
        manifest=lambda wildcards: f"{RUN}/datasets/{baseline_training(wildcards)}.parquet",
        classes=lambda wildcards: config["datasets"][baseline_training(wildcards)].get("classes", []),
        code=baseline_code("train_baseline"),
    output:
        weights="results/{run}/baselines/{baseline}.safetensors",
        card="results/{run}/baselines/{baseline}.json",
    log:
        "results/{run}/logs/train_baseline/{baseline}.log",
    conda:
        "../envs/varc.yaml"
    threads: 2
    resources:
        **needs("train_baseline"),
        device="auto",
        gpu=1,
    params:
        baseline=lambda wildcards: BASELINES[wildcards.baseline],
        dataset=lambda wildcards: config["datasets"][baseline_training(wildcards)],
        seed=config["seed"],
    script:
        "../../scripts/train_baseline.py"


rule score_baseline:
    input:
        unpack(score_baseline_inputs),
        classes=class_list,
        code=baseline_code("score_baseline"),
    output:
        scores="results/{run}/scores/{baseline}/{dataset}/{candidates}/{scoring}/{shard}.parquet",
    log:
        "results/{run}/logs/score_baseline/{baseline}/{dataset}/{candidates}/{scoring}/{shard}.log",
    wildcard_constraints:
        candidates=KEPT_BEFORE,
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("score_baseline"),
        device="auto",
        gpu=1,
        shards=SHARDS,
    params:
        baseline=lambda wildcards: BASELINES[wildcards.baseline],
        dataset=dataset_spec,
        scorings=lambda wildcards: [scoring(stage) for stage in scored_stages(wildcards)],
        public_sha256=public_sha256,
        seed=config["seed"],
    script:
        "../../scripts/score_baseline.py"


rule prune_baseline:
    input:
        scores=prune_baseline_scores,
        code=code("prune"),
    output:
        candidates="results/{run}/candidates/{baseline}/{dataset}/{candidates}/{shard}.parquet",
    log:
        "results/{run}/logs/prune/{baseline}/{dataset}/{candidates}/{shard}.log",
    wildcard_constraints:
        candidates=KEPT_BEFORE,
    conda:
        "../envs/varc.yaml"
    params:
        keep=lambda wildcards: kept_stages(wildcards)[-1]["keep"],
    script:
        "../../scripts/prune.py"


rule predict_baseline:
    input:
        unpack(predict_baseline_inputs),
        code=code("predict"),
    output:
        predictions="results/{run}/predictions/{classifier}/{dataset}.parquet",
    log:
        "results/{run}/logs/predict_baseline/{classifier}/{dataset}.log",
    wildcard_constraints:
        classifier=one_of(RIVALS),
    conda:
        "../envs/varc.yaml"
    params:
        samples=lambda wildcards: [1 for _ in RIVALS[wildcards.classifier]["stages"]],
    script:
        "../../scripts/predict.py"


rule main:
    input:
        accuracy=rules.accuracy.output.csv,
        cards=sorted({card for row in main_rows() for card in [*row["cards"], *row["before"]]}),
        published=published_file,
        code=code("main"),
    output:
        csv=report("results/{run}/tables/main.csv", category="Tables", caption="../report/main.rst"),
        markdown="results/{run}/tables/main.md",
        plot=report("results/{run}/tables/main.svg", category="Tables", caption="../report/main.rst"),
    log:
        "results/{run}/logs/main.log",
    conda:
        "../envs/varc.yaml"
    params:
        rows=main_rows(),
    script:
        "../../scripts/main.py"
