rule calibrate:
    input:
        unpack(ask(JOBS.calibrate_inputs)),
        code=code("calibrate"),
    output:
        thresholds="results/{run}/thresholds/{model}/{dataset}/{stage}.json",
    log:
        "results/{run}/logs/calibrate/{model}/{dataset}/{stage}.log",
    conda:
        "../envs/varc.yaml"
    params:
        alpha=ask(JOBS.alpha),
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
    conda:
        "../envs/varc.yaml"
    resources:
        **gpu_job("score_adaptive", mem_mb=16_000, runtime=120),
    params:
        dataset=ask(RUN.dataset),
        vqvae_checkpoint=ask(CHECKPOINTS.checkpoint, part="vqvae"),
        var_checkpoint=ask(CHECKPOINTS.checkpoint, part="var"),
    script:
        "../../scripts/score_adaptive.py"


rule adaptive:
    input:
        unpack(ask(TABLES.adaptive_inputs)),
        code=code("adaptive"),
    output:
        csv=report("results/{run}/tables/adaptive.csv", category="Tables", caption="../report/adaptive.rst"),
        markdown="results/{run}/tables/adaptive.md",
        plot=report("results/{run}/tables/adaptive.svg", category="Tables", caption="../report/adaptive_plot.rst"),
    log:
        "results/{run}/logs/adaptive.log",
    conda:
        "../envs/varc.yaml"
    params:
        rows=TABLES.adaptive_rows(),
        shapes=TABLES.shapes(),
    script:
        "../../scripts/adaptive.py"


rule calibration:
    input:
        unpack(ask(TABLES.calibration_inputs)),
        code=code("calibration"),
    output:
        csv=report("results/{run}/tables/calibration.csv", category="Tables", caption="../report/calibration.rst"),
        markdown="results/{run}/tables/calibration.md",
        plot=report("results/{run}/tables/calibration.svg", category="Tables", caption="../report/calibration.rst"),
    log:
        "results/{run}/logs/calibration.log",
    conda:
        "../envs/varc.yaml"
    params:
        pairs=TABLES.calibrated(),
    script:
        "../../scripts/calibration.py"
