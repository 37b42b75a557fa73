def training(wildcards):
    return config["models"][wildcards.model]["train"]


def training_manifest(wildcards):
    return f"{RUN}/datasets/{training(wildcards)['data']}.parquet"


def training_tokens(wildcards):
    """Tokens of the training images: all samples, and of each all shards."""
    train = training(wildcards)
    sigma = spell_sigma(train["var"].get("sigma"))
    folder = f"tokens/{vqvae_of(wildcards.model)}/{train['data']}"
    return [
        path
        for sample in range(train["var"]["samples"])
        for path in shards_of(f"{folder}/{spell_noise(sigma, sample)}")
    ]


rule train_vqvae:
    input:
        manifest=training_manifest,
        code=code("train_vqvae"),
    output:
        weights=RUN + "/models/{model}/vqvae.safetensors",
        card=RUN + "/models/{model}/vqvae.json",
        curve=RUN + "/models/{model}/vqvae_curve.csv",
        plot=report(
            RUN + "/models/{model}/vqvae_curve.svg",
            category="Training",
            caption="../report/vqvae_curve.rst",
        ),
    log:
        log_of("train_vqvae", "model"),
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
        vqvae=lambda wildcards: f"{RUN}/models/{vqvae_of(wildcards.model)}/vqvae.safetensors",
        code=code("train_var"),
    output:
        weights=RUN + "/models/{model}/var.safetensors",
        card=RUN + "/models/{model}/var.json",
        curve=RUN + "/models/{model}/var_curve.csv",
        plot=report(
            RUN + "/models/{model}/var_curve.svg",
            category="Training",
            caption="../report/var_curve.rst",
        ),
    log:
        log_of("train_var", "model"),
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
