rule measure_rates:
    input:
        checkpoints=lambda wildcards: shape_files_of(planned_models()),
        classes=class_lists(rival_training().values()),
        families=rival_families(),
        code=code("measure_rates"),
    output:
        rates=RATES,
    log:
        f"{RUN}/logs/measure_rates.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("measure_rates"),
        device="auto",
        gpu=1,
    params:
        kinds=planned_kinds,
        rivals=planned_rivals,
        shapes=lambda wildcards: {name: shape_of(name) for name in planned_models()},
    script:
        "../../scripts/measure_rates.py"


rule plan:
    input:
        unpack(plan_inputs),
        code=code("plan"),
    output:
        csv=PLAN,
        markdown=f"{RUN}/tables/plan.md",
    log:
        f"{RUN}/logs/plan.log",
    conda:
        "../envs/varc.yaml"
    params:
        works=lambda wildcards: [tuple(work) for work in planned_works()],
        images=planned_images,
        rivals=planned_rivals,
        shapes=lambda wildcards: {name: shape_of(name) for name in planned_models()},
        shards=config["shards"],
        gflops_per_second=config.get("gflops_per_second"),
    script:
        "../../scripts/plan.py"
