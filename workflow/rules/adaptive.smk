rule calibrate:
    input:
        unpack(ask(JOBS.calibrate_inputs)),
        code=code("calibrate"),
    output:
        thresholds="results/{run}/thresholds/{scorer}/{dataset}/{stage}.json",
    log:
        "results/{run}/logs/calibrate/{scorer}/{dataset}/{stage}.log",
    params:
        alpha=ask(JOBS.thresholded, get="alpha"),
        expected=ask(CHECKPOINTS.expected),
    script:
        "../../scripts/calibrate.py"


rule score_adaptive:
    input:
        unpack(ask(JOBS.score_adaptive_inputs)),
        code=code("score_adaptive"),
    output:
        scores="results/{run}/scores/{model}/{dataset}/all/{stage}/{shard}.parquet",
    log:
        "results/{run}/logs/score_adaptive/{model}/{dataset}/{stage}/{shard}.log",
    resources:
        **gpu_job("score_adaptive", mem_mb=16_000, runtime=120),
    params:
        **WEIGHTS_KNOWN,
        dataset=ask(RUN.dataset),
        precision=ask(JOBS.adaptive, get="precision"),
    script:
        "../../scripts/score_adaptive.py"


rule certify:
    input:
        unpack(ask(JOBS.certify_inputs)),
        code=code("certify"),
    output:
        delta="results/{run}/certified/{model}/{dataset}/{stage}.json",
    log:
        "results/{run}/logs/certify/{model}/{dataset}/{stage}.log",
    params:
        alpha=ask(JOBS.certified, get="alpha"),
        scales=ask(JOBS.certified, get="scales"),
        expected=lambda wildcards: CHECKPOINTS.expected(wildcards.model),
    script:
        "../../scripts/certify.py"


rule score_certified:
    input:
        unpack(ask(JOBS.score_certified_inputs)),
        code=code("score_certified"),
    output:
        scores="results/{run}/scores/{model}/{dataset}/all/{stage}/{shard}.parquet",
    log:
        "results/{run}/logs/score_certified/{model}/{dataset}/{stage}/{shard}.log",
    wildcard_constraints:
        stage=one_of(RUN.certified_names()),
    resources:
        **gpu_job("score_certified", mem_mb=16_000, runtime=120),
    params:
        **WEIGHTS_KNOWN,
    script:
        "../../scripts/score_certified.py"


rule adaptive:
    input:
        unpack(ask(TABLES.adaptive_inputs)),
        code=code("adaptive"),
    output:
        **table("adaptive"),
        plot="results/{run}/tables/adaptive.svg",
    log:
        "results/{run}/logs/adaptive.log",
    params:
        rows=TABLES.adaptive_rows(),
        shapes=CHECKPOINTS.shapes(RUN.models),
    script:
        "../../scripts/adaptive.py"


rule certified:
    input:
        unpack(ask(TABLES.certified_inputs)),
        code=code("certified"),
    output:
        **table("certified"),
    log:
        "results/{run}/logs/certified.log",
    params:
        rows=TABLES.certified_rows(),
        shapes=CHECKPOINTS.shapes(RUN.models),
    script:
        "../../scripts/certified.py"


rule calibration:
    input:
        unpack(ask(TABLES.calibration_inputs)),
        code=code("calibration"),
    output:
        **table("calibration"),
        plot="results/{run}/tables/calibration.svg",
    log:
        "results/{run}/logs/calibration.log",
    params:
        pairs=TABLES.calibrated(),
        combines=[JOBS.combines(name)[0] for _, name in TABLES.calibrated()],
    script:
        "../../scripts/calibration.py"
