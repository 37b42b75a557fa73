rule train_vqvae:
    input:
        unpack(ask(JOBS.train_vqvae_inputs)),
        code=code("train_vqvae"),
    output:
        weights="results/{run}/models/{model}/vqvae.safetensors",
        card="results/{run}/models/{model}/vqvae.json",
        curve="results/{run}/models/{model}/vqvae_curve.csv",
        plot="results/{run}/models/{model}/vqvae_curve.svg",
    log:
        "results/{run}/logs/train_vqvae/{model}.log",
    wildcard_constraints:
        model=one_of(JOBS.with_vqvae()),
    threads: 2
    resources:
        **gpu_job("train_vqvae", mem_mb=16_000, runtime=240),
    params:
        train=ask(JOBS.training_settings, part="vqvae"),
        dataset=ask(JOBS.training, get="data", then=RUN.dataset),
        validation_dataset=ask(JOBS.trained_validation, part="vqvae"),
        seed=SEED,
    script:
        "../../scripts/train_vqvae.py"


rule train_var:
    input:
        unpack(ask(JOBS.train_var_inputs)),
        code=code("train_var"),
    output:
        weights="results/{run}/models/{model}/var.safetensors",
        card="results/{run}/models/{model}/var.json",
        curve="results/{run}/models/{model}/var_curve.csv",
        plot="results/{run}/models/{model}/var_curve.svg",
    log:
        "results/{run}/logs/train_var/{model}.log",
    wildcard_constraints:
        model=one_of(JOBS.trained()),
    threads: 2
    resources:
        **gpu_job("train_var", mem_mb=16_000, runtime=480),
    params:
        train=ask(JOBS.training_settings, part="var"),
        vqvae_checkpoint=ask(CHECKPOINTS.checkpoint, part="vqvae"),
        dataset=ask(JOBS.training, get="data", then=RUN.dataset),
        validation_dataset=ask(JOBS.trained_validation, part="var"),
        seed=SEED,
    script:
        "../../scripts/train_var.py"


rule finetune:
    input:
        unpack(ask(JOBS.finetune_inputs)),
        code=code("finetune"),
    output:
        weights="results/{run}/models/{model}/var.safetensors",
        card="results/{run}/models/{model}/var.json",
        curve="results/{run}/models/{model}/finetune_curve.csv",
        plot="results/{run}/models/{model}/finetune_curve.svg",
    log:
        "results/{run}/logs/finetune/{model}.log",
    wildcard_constraints:
        model=one_of(JOBS.finetuned()),
    threads: 2
    resources:
        **gpu_job("finetune", mem_mb=32_000, runtime=720),
        processes=1,
        nodes=1,
    params:
        settings=ask(JOBS.finetuning),
        validation_dataset=ask(JOBS.validation_dataset),
        vqvae_checkpoint=ask(CHECKPOINTS.checkpoint, part="vqvae"),
        var_checkpoint=ask(JOBS.base_known),
        seed=SEED,
    script:
        "../../scripts/finetune.py"


rule download:
    output:
        checkpoint="checkpoints/{checkpoint}",
    log:
        RUN.path("logs/download/{checkpoint}.log"),
    wildcard_constraints:
        checkpoint=one_of(CHECKPOINTS.downloads),
    params:
        hub=ask(CHECKPOINTS.hub),
        sha256=ask(CHECKPOINTS.hub_sha256),
    script:
        "../../scripts/download.py"
