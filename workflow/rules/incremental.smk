rule learn_tasks:
    input:
        unpack(learn_tasks_inputs),
        code=code("learn_tasks"),
    output:
        accuracy="results/{run}/incremental/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.parquet",
    log:
        "results/{run}/logs/learn_tasks/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.log",
    conda:
        "../envs/varc.yaml"
    params:
        train_dataset=lambda wildcards: config["datasets"][incremental_entry(wildcards)["data"]],
        test_dataset=dataset_spec,
        train=incremental_training,
        cca=lambda wildcards: learning(wildcards.classifier)[1],
        funnel=lambda wildcards: config["classifiers"][wildcards.classifier]["funnel"],
        samples=lambda wildcards: funnel_samples(config["classifiers"][wildcards.classifier]),
        vqvae_checkpoint=lambda wildcards: checkpoint(config["classifiers"][wildcards.classifier]["model"], "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(
            origin(config["models"], config["classifiers"][wildcards.classifier]["model"]), "var"
        ),
    script:
        "../../scripts/learn_tasks.py"


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
