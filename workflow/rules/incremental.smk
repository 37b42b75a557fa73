rule learn_tasks_var:
    input:
        unpack(learn_tasks_var_inputs),
        code=code("learn_tasks_var"),
    output:
        accuracy="results/{run}/incremental/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.parquet",
    log:
        "results/{run}/logs/learn_tasks_var/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.log",
    wildcard_constraints:
        strategy=r"var_\w+",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("learn_tasks_var"),
        device="auto",
        gpu=1,
    params:
        train_dataset=lambda wildcards: config["datasets"][incremental_entry(wildcards)["data"]],
        train=incremental_training,
        cca=lambda wildcards: finetuning(config["models"], learning_model(wildcards)),
        funnel=lambda wildcards: config["classifiers"][wildcards.classifier]["funnel"],
        samples=lambda wildcards: funnel_samples(config["classifiers"][wildcards.classifier]),
        vqvae_checkpoint=lambda wildcards: checkpoint(learning_model(wildcards), "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(origin(config["models"], learning_model(wildcards)), "var"),
    script:
        "../../scripts/learn_tasks_var.py"


rule learn_tasks_convnet:
    input:
        unpack(learn_tasks_inputs),
        code=code("learn_tasks_convnet"),
    output:
        accuracy="results/{run}/incremental/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.parquet",
    log:
        "results/{run}/logs/learn_tasks_convnet/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.log",
    wildcard_constraints:
        strategy="none|cwr|joint",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("learn_tasks_convnet"),
        device="auto",
        gpu=1,
    params:
        train_dataset=lambda wildcards: config["datasets"][incremental_entry(wildcards)["data"]],
        test_dataset=dataset_spec,
        train=incremental_training,
        size=lambda wildcards: image_size(config["models"], learning_model(wildcards)),
    script:
        "../../scripts/learn_tasks_convnet.py"


rule learn_tasks_baseline:
    input:
        unpack(learn_tasks_inputs),
        code=learning_code("learn_tasks_baseline"),
    output:
        accuracy="results/{run}/incremental/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.parquet",
    log:
        "results/{run}/logs/learn_tasks_baseline/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.log",
    wildcard_constraints:
        strategy=r"family_\w+",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("learn_tasks_baseline"),
        device="auto",
        gpu=1,
    params:
        train_dataset=lambda wildcards: config["datasets"][incremental_entry(wildcards)["data"]],
        test_dataset=dataset_spec,
        baseline=lambda wildcards: BASELINES[RIVALS[wildcards.classifier]["baseline"]],
        stages=lambda wildcards: RIVALS[wildcards.classifier]["stages"],
    script:
        "../../scripts/learn_tasks_baseline.py"


rule incremental:
    input:
        unpack(incremental_files),
        published=published_file,
        code=code("incremental"),
    output:
        csv=report("results/{run}/tables/incremental.csv", category="Tables", caption="../report/incremental.rst"),
        markdown="results/{run}/tables/incremental.md",
        plot=report("results/{run}/tables/incremental.svg", category="Tables", caption="../report/incremental.rst"),
    log:
        "results/{run}/logs/incremental.log",
    conda:
        "../envs/varc.yaml"
    params:
        rows=incremental_rows(),
    script:
        "../../scripts/incremental.py"
