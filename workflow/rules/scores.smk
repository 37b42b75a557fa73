rule score:
    input:
        unpack(ask(JOBS.score_inputs)),
        code=code("score"),
    output:
        scores="results/{run}/scores/{model}/{dataset}/{candidates}/{stage}/{noise}/{shard}.parquet",
    log:
        "results/{run}/logs/score/{model}/{dataset}/{candidates}/{stage}/{noise}/{shard}.log",
    resources:
        **gpu_job("score", mem_mb=16_000, runtime=120),
        batch_size="auto",
    params:
        **WEIGHTS_KNOWN,
        dataset=ask(RUN.dataset),
        stage=ask(JOBS.stage_settings),
        recipe=ask(RUN.recipe),
    script:
        "../../scripts/score.py"


rule fit_scale_weights:
    input:
        unpack(ask(JOBS.fit_scale_weights_inputs)),
        code=code("fit_scale_weights"),
    output:
        weights="results/{run}/scale_weights/{model}/{dataset}.json",
    log:
        "results/{run}/logs/fit_scale_weights/{model}/{dataset}.log",
    params:
        expected=lambda wildcards: CHECKPOINTS.expected(wildcards.model),
    script:
        "../../scripts/fit_scale_weights.py"


rule prune:
    input:
        unpack(ask(JOBS.prune_inputs)),
        code=code("prune"),
    output:
        candidates="results/{run}/candidates/{scorer}/{dataset}/{candidates}/{shard}.parquet",
    log:
        "results/{run}/logs/prune/{scorer}/{dataset}/{candidates}/{shard}.log",
    params:
        keep=ask(JOBS.keep),
        combine=ask(JOBS.combine),
        scales=ask(JOBS.scales),
        expected=ask(CHECKPOINTS.expected),
    script:
        "../../scripts/prune.py"


rule predict:
    input:
        unpack(ask(JOBS.predict_inputs)),
        code=code("predict"),
    output:
        predictions="results/{run}/predictions/{classifier}/{dataset}.parquet",
    log:
        "results/{run}/logs/predict/{classifier}/{dataset}.log",
    params:
        samples=ask(JOBS.samples),
        combines=ask(JOBS.combines),
        scales=ask(JOBS.stage_scales),
        patch_nums=ask(JOBS.patch_nums),
        expected=ask(JOBS.expected),
        open=ask(RUN.is_open),
    script:
        "../../scripts/predict.py"
