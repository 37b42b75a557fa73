LEARNED = {  # parameters of what learns task by task
    "tasks": lambda wildcards: int(wildcards.tasks),
    "strategy": lambda wildcards: wildcards.strategy,
    "seed": lambda wildcards: int(wildcards.seed),
    "train_dataset": ask(LEARNING.train_dataset),
}


rule learn_tasks_var:
    input:
        unpack(ask(LEARNING.var_inputs)),
        code=code("learn_tasks_var"),
    output:
        accuracy="results/{run}/incremental/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.parquet",
    log:
        "results/{run}/logs/learn_tasks_var/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.log",
    wildcard_constraints:
        strategy=STRATEGIES["learn_tasks_var"],
    resources:
        **gpu_job("learn_tasks_var", mem_mb=16_000, runtime=240),
    params:
        **LEARNED,
        train=ask(LEARNING.train),
        cca=ask(LEARNING.cca),
        funnel=lambda wildcards: RUN.config.own[wildcards.classifier].given()["funnel"],
        samples=lambda wildcards: RUN.config.own[wildcards.classifier].samples,
        vqvae_checkpoint=ask(LEARNING.known, part="vqvae"),
        var_checkpoint=ask(LEARNING.known, part="var"),
    script:
        "../../scripts/learn_tasks_var.py"


rule learn_tasks_convnet:
    input:
        unpack(ask(LEARNING.inputs)),
        code=code("learn_tasks_convnet"),
    output:
        accuracy="results/{run}/incremental/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.parquet",
    log:
        "results/{run}/logs/learn_tasks_convnet/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.log",
    wildcard_constraints:
        strategy=STRATEGIES["learn_tasks_convnet"],
    resources:
        **gpu_job("learn_tasks_convnet", mem_mb=16_000, runtime=240),
    params:
        **LEARNED,
        test_dataset=ask(RUN.dataset),
        train=ask(LEARNING.train),
        size=ask(LEARNING.size),
    script:
        "../../scripts/learn_tasks_convnet.py"


rule learn_tasks_baseline:
    input:
        unpack(ask(LEARNING.inputs)),
        code=code("learn_tasks_baseline", ask(RUN.family_of)),
    output:
        accuracy="results/{run}/incremental/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.parquet",
    log:
        "results/{run}/logs/learn_tasks_baseline/{classifier}/{dataset}/{tasks}/{strategy}/{seed}.log",
    wildcard_constraints:
        strategy=STRATEGIES["learn_tasks_baseline"],
    resources:
        **gpu_job("learn_tasks_baseline", mem_mb=16_000, runtime=240),
    params:
        **LEARNED,
        test_dataset=ask(RUN.dataset),
        baseline=ask(RUN.baseline_of, then=CHECKPOINTS.baseline),
        stages=lambda wildcards: RUN.config.rivals[wildcards.classifier].given()["stages"],
    script:
        "../../scripts/learn_tasks_baseline.py"


rule incremental:
    input:
        unpack(ask(LEARNING.incremental_inputs)),
        published=PUBLISHED,
        code=code("incremental"),
    output:
        **table("incremental"),
        plot="results/{run}/tables/incremental.svg",
    log:
        "results/{run}/logs/incremental.log",
    params:
        rows=LEARNING.rows(),
    script:
        "../../scripts/incremental.py"
