rule score:
    input:
        tokens=lambda wildcards: "{}/tokens/{}/{w.dataset}/{w.noise}/{w.shard}.parquet".format(
            RUN, vqvae_of(wildcards.model), w=wildcards
        ),
        candidates=candidates_file,
        classes=class_list,
        vqvae=lambda wildcards: weights(wildcards.model, "vqvae"),
        var=lambda wildcards: weights(wildcards.model, "var"),
        code=code("score"),
    output:
        scores="results/{run}/scores/{model}/{dataset}/{candidates}/scales{scales}{precision}/{noise}/{shard}.parquet",
    log:
        "results/{run}/logs/score/{model}/{dataset}/{candidates}/{scales}{precision}/{noise}/{shard}.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("score"),
        batch_size="auto",
        device="auto",
        gpu=1,
    params:
        dataset=dataset_spec,
        vqvae_checkpoint=lambda wildcards: checkpoint(wildcards.model, "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(wildcards.model, "var"),
    script:
        "../../scripts/score.py"


rule score_guided:
    input:
        tokens=lambda wildcards: "{}/tokens/{}/{w.dataset}/clean/{w.shard}.parquet".format(
            RUN, vqvae_of(wildcards.model), w=wildcards
        ),
        classes=class_list,
        vqvae=lambda wildcards: weights(wildcards.model, "vqvae"),
        var=lambda wildcards: weights(wildcards.model, "var"),
        code=code("score_guided"),
    output:
        scores="results/{run}/scores/{model}/{dataset}/all/scales{scales}-cfg{guidance}/clean/{shard}.parquet",
    log:
        "results/{run}/logs/score_guided/{model}/{dataset}/{scales}-cfg{guidance}/{shard}.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("score_guided"),
        device="auto",
        gpu=1,
    params:
        dataset=dataset_spec,
        vqvae_checkpoint=lambda wildcards: checkpoint(wildcards.model, "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(wildcards.model, "var"),
    script:
        "../../scripts/score_guided.py"


rule prune:
    input:
        scores=sample_files,
        code=code("prune"),
    output:
        candidates="results/{run}/candidates/{model}/{dataset}/{candidates}/{shard}.parquet",
    log:
        "results/{run}/logs/prune/{model}/{dataset}/{candidates}/{shard}.log",
    conda:
        "../envs/varc.yaml"
    params:
        keep=lambda wildcards: read_candidates(wildcards.candidates)[-1].keep,
    script:
        "../../scripts/prune.py"


rule predict:
    input:
        unpack(funnel_files),
        code=code("predict"),
    output:
        predictions="results/{run}/predictions/{classifier}/{dataset}.parquet",
    log:
        "results/{run}/logs/predict/{classifier}/{dataset}.log",
    wildcard_constraints:
        classifier=one_of(FIXED),
    conda:
        "../envs/varc.yaml"
    params:
        samples=lambda wildcards: [stage.samples for stage in stages(config["classifiers"][wildcards.classifier])],
    script:
        "../../scripts/predict.py"
