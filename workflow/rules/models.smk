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
    conda:
        "../envs/varc.yaml"
    threads: 2
    resources:
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
        vqvae="results/{run}/models/{model}/vqvae.safetensors",
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
    conda:
        "../envs/varc.yaml"
    threads: 2
    resources:
        device="auto",
        gpu=1,
        shards=SHARDS,
    params:
        train=lambda wildcards: training(wildcards)["var"],
        dataset=lambda wildcards: config["datasets"][training(wildcards)["data"]],
        seed=config["seed"],
    script:
        "../../scripts/train_var.py"


rule download:
    output:
        checkpoint="{checkpoint}",
    log:
        f"{RUN}/logs/download/{{checkpoint}}.log",
    wildcard_constraints:
        checkpoint="|".join(map(re.escape, HUB)) or r"(?!)",
    conda:
        "../envs/varc.yaml"
    params:
        hub=lambda wildcards: MODELS[HUB[wildcards.checkpoint][0]]["hub"],
        sha256=lambda wildcards: weights_sha256(*HUB[wildcards.checkpoint]),
    script:
        "../../scripts/download.py"
