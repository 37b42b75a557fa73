rule measure_rates:
    input:
        checkpoints=lambda wildcards: marked(CHECKPOINTS.shape_files(PLAN.models())),
        classes=RUN.class_lists([]),
        families=FAMILIES,
        code=code("measure_rates"),
    output:
        rates=RUN.rates,
    log:
        RUN.path("logs/measure_rates.log"),
    resources:
        **gpu_job("measure_rates", mem_mb=16_000, runtime=30),
    params:
        kinds=lambda wildcards: PLAN.kinds(finetune_processes()),
        rivals=ask(PLAN.rivals),
        shapes=lambda wildcards: CHECKPOINTS.shapes(PLAN.models()),
    script:
        "../../scripts/measure_rates.py"


rule plan:
    input:
        unpack(ask(PLAN.inputs)),
        families=FAMILIES,
        code=code("plan"),
    output:
        csv=RUN.table("plan.csv"),
        markdown=RUN.table("plan.md"),
    log:
        RUN.path("logs/plan.log"),
    params:
        works=lambda wildcards: [tuple(work) for work in PLAN.shared(finetune_processes())],
        images=ask(PLAN.images),
        listed=ask(PLAN.listed),
        rivals=ask(PLAN.rivals),
        shapes=lambda wildcards: CHECKPOINTS.shapes(PLAN.models()),
        shards=RUN.config.shards,
        gflops_per_second=RUN.config.gflops_per_second,
    script:
        "../../scripts/plan.py"
