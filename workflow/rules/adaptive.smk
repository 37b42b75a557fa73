rule calibrate:
    input:
        unpack(calibration_files),
        code=code("calibrate"),
    output:
        thresholds="results/{run}/thresholds/{model}/{dataset}/{adaptive}.json",
    log:
        "results/{run}/logs/calibrate/{model}/{dataset}/{adaptive}.log",
    conda:
        "../envs/varc.yaml"
    params:
        alpha=lambda wildcards: adaptive_stage(adaptive_classifier(wildcards))["alpha"],
    script:
        "../../scripts/calibrate.py"


rule score_adaptive:
    input:
        unpack(adaptive_inputs),
        classes=class_list,
        code=code("score_adaptive"),
    output:
        scores="results/{run}/scores/{model}/{dataset}/all/{adaptive}/{shard}.parquet",
    log:
        "results/{run}/logs/score_adaptive/{model}/{dataset}/{adaptive}/{shard}.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("score_adaptive"),
        device="auto",
        gpu=1,
    params:
        dataset=dataset_spec,
        vqvae_checkpoint=lambda wildcards: checkpoint(wildcards.model, "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(wildcards.model, "var"),
    script:
        "../../scripts/score_adaptive.py"


rule predict_adaptive:
    input:
        unpack(adaptive_files),
        code=code("predict_adaptive"),
    output:
        predictions="results/{run}/predictions/{classifier}/{dataset}.parquet",
    log:
        "results/{run}/logs/predict_adaptive/{classifier}/{dataset}.log",
    wildcard_constraints:
        classifier=one_of(ADAPTIVES),
    conda:
        "../envs/varc.yaml"
    script:
        "../../scripts/predict_adaptive.py"


rule adaptive:
    input:
        unpack(adaptive_table_files),
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
        rows=adaptive_table_rows(),
        shapes=shapes(),
    script:
        "../../scripts/adaptive.py"


rule calibration:
    input:
        unpack(calibration_table_files),
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
        pairs=CALIBRATED,
    script:
        "../../scripts/calibration.py"
