rule train_vqvae:
    input:
        manifest=training_manifest,
        code=code("train_vqvae"),
    output:
        weights="results/{run}/models/{model}/vqvae.safetensors",
        card="results/{run}/models/{model}/vqvae.json",
        curve="results/{run}/models/{model}/vqvae_curve.csv",
        plot=report(
            "results/{run}/models/{model}/vqvae_curve.svg",
            category="Training",
            caption="../report/vqvae_curve.rst",
        ),
    log:
        "results/{run}/logs/train_vqvae/{model}.log",
    wildcard_constraints:
        model=one_of(VQVAES),
    conda:
        "../envs/varc.yaml"
    threads: 2
    resources:
        **needs("train_vqvae"),
        device="auto",
        gpu=1,
    params:
        train=lambda wildcards: training(wildcards)["vqvae"],
        dataset=lambda wildcards: config["datasets"][training(wildcards)["data"]],
        seed=config["seed"],
    script:
        "../../scripts/train_vqvae.py"


rule train_var:
    input:
        manifest=training_manifest,
        classes=lambda wildcards: config["datasets"][training(wildcards)["data"]].get("classes", []),
        tokens=training_tokens,
        vqvae=lambda wildcards: weights(wildcards.model, "vqvae"),
        code=code("train_var"),
    output:
        weights="results/{run}/models/{model}/var.safetensors",
        card="results/{run}/models/{model}/var.json",
        curve="results/{run}/models/{model}/var_curve.csv",
        plot=report(
            "results/{run}/models/{model}/var_curve.svg",
            category="Training",
            caption="../report/var_curve.rst",
        ),
    log:
        "results/{run}/logs/train_var/{model}.log",
    wildcard_constraints:
        model=one_of(TRAINED),
    conda:
        "../envs/varc.yaml"
    threads: 2
    resources:
        **needs("train_var"),
        device="auto",
        gpu=1,
    params:
        train=lambda wildcards: training(wildcards)["var"],
        dataset=lambda wildcards: config["datasets"][training(wildcards)["data"]],
        seed=config["seed"],
    script:
        "../../scripts/train_var.py"


rule finetune:
    input:
        unpack(finetune_inputs),
        code=code("finetune"),
    output:
        weights="results/{run}/models/{model}/var.safetensors",
        card="results/{run}/models/{model}/var.json",
        curve="results/{run}/models/{model}/finetune_curve.csv",
        plot=report(
            "results/{run}/models/{model}/finetune_curve.svg",
            category="Training",
            caption="../report/finetune_curve.rst",
        ),
    log:
        "results/{run}/logs/finetune/{model}.log",
    wildcard_constraints:
        model=one_of(FINETUNED),
    conda:
        "../envs/varc.yaml"
    threads: 2
    resources:
        **needs("finetune"),
        device="auto",
        gpu=1,
        processes=1,
    params:
        settings=lambda wildcards: finetuning(config["models"], wildcards.model),
        validation_dataset=lambda wildcards: config["datasets"].get(
            finetuning(config["models"], wildcards.model).get("validate")
        ),
        vqvae_checkpoint=lambda wildcards: checkpoint(wildcards.model, "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(config["models"][wildcards.model]["finetune"], "var"),
        seed=config["seed"],
    script:
        "../../scripts/finetune.py"


rule download:
    output:
        checkpoint="{checkpoint}",
    log:
        f"{RUN}/logs/download/{{checkpoint}}.log",
    wildcard_constraints:
        checkpoint=one_of(HUB),
    conda:
        "../envs/varc.yaml"
    params:
        hub=lambda wildcards: config["models"][HUB[wildcards.checkpoint][0]]["hub"],
        sha256=lambda wildcards: weights_sha256(*HUB[wildcards.checkpoint]),
    script:
        "../../scripts/download.py"
