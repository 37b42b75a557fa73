rule score_tokens:
    input:
        unpack(token_scores_inputs),
        code=code("score_tokens"),
    output:
        token_scores="results/{run}/token_scores/{model}/{dataset}/{role}{randomised}/{noise}/{shard}.parquet",
    log:
        "results/{run}/logs/score_tokens/{model}/{dataset}/{role}{randomised}/{noise}/{shard}.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("score_tokens"),
        device="auto",
        gpu=1,
        shards=SHARDS,
    params:
        roles=lambda wildcards: [wildcards.role],
        images=explained_count,
        seed=config["seed"],
        vqvae_checkpoint=lambda wildcards: checkpoint(wildcards.model, "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(wildcards.model, "var"),
    script:
        "../../scripts/score_tokens.py"


rule explain:
    input:
        unpack(tmi_inputs),
        code=code("explain"),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/explain/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=rf"tmi[a-z_]*?(x\d+s{SIGMA})?",
    conda:
        "../envs/varc.yaml"
    resources:
        shards=SHARDS,
    params:
        roles=[],
        weights=lambda wildcards: explanation(wildcards)[0],
        images=lambda wildcards: explain_entry(wildcards).get("images"),
        seed=config["seed"],
        shape=lambda wildcards: shape_of(wildcards.model),
    script:
        "../../scripts/explain.py"


rule attribute:
    input:
        unpack(attribute_inputs),
        code=code("attribute"),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/attribute/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=one_of(MASKED_METHODS),
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("attribute"),
        device="auto",
        gpu=1,
        shards=SHARDS,
    params:
        roles=lambda wildcards: explained_roles(explain_entry(wildcards)),
        images=lambda wildcards: explain_entry(wildcards).get("images"),
        budget=lambda wildcards: explain_entry(wildcards).get("budget"),
        seed=config["seed"],
        dataset=dataset_spec,
        vqvae_checkpoint=lambda wildcards: checkpoint(wildcards.model, "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(wildcards.model, "var"),
    script:
        "../../scripts/attribute.py"


rule attribute_network:
    input:
        unpack(attribute_network_inputs),
        code=judge_code("attribute_network", first_judge),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/attribute_network/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=one_of(GRADIENT_METHODS),
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("attribute_network"),
        device="auto",
        gpu=1,
        shards=SHARDS,
    params:
        roles=lambda wildcards: explained_roles(explain_entry(wildcards)),
        images=lambda wildcards: explain_entry(wildcards).get("images"),
        budget=lambda wildcards: explain_entry(wildcards).get("budget"),
        rival=lambda wildcards: judging_rival(first_judge(wildcards)),
        seed=config["seed"],
        dataset=dataset_spec,
        shape=lambda wildcards: shape_of(wildcards.model),
    script:
        "../../scripts/attribute_network.py"


rule control:
    input:
        unpack(image_inputs),
        code=code("control"),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/control/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=one_of(CONTROLS),
    conda:
        "../envs/varc.yaml"
    resources:
        device="cpu",
        shards=SHARDS,
    params:
        roles=lambda wildcards: explained_roles(explain_entry(wildcards)),
        images=lambda wildcards: explain_entry(wildcards).get("images"),
        seed=config["seed"],
        dataset=dataset_spec,
        shape=lambda wildcards: shape_of(wildcards.model),
    script:
        "../../scripts/control.py"


rule train_judge:
    input:
        manifest=lambda wildcards: f"{RUN}/datasets/{config['judges'][wildcards.judge]['data']}.parquet",
        classes=lambda wildcards: config["datasets"][config["judges"][wildcards.judge]["data"]].get("classes", []),
        checkpoints=lambda wildcards: shape_files_of([judged_model(wildcards.judge)]),
        code=code("train_judge"),
    output:
        weights="results/{run}/judges/{judge}.safetensors",
        card="results/{run}/judges/{judge}.json",
    log:
        "results/{run}/logs/train_judge/{judge}.log",
    conda:
        "../envs/varc.yaml"
    threads: 2
    resources:
        **needs("train_judge"),
        device="auto",
        gpu=1,
    params:
        judge=lambda wildcards: config["judges"][wildcards.judge],
        dataset=lambda wildcards: config["datasets"][config["judges"][wildcards.judge]["data"]],
        shape=lambda wildcards: shape_of(judged_model(wildcards.judge)),
        seed=config["seed"],
    script:
        "../../scripts/train_judge.py"


rule faithfulness:
    input:
        unpack(faithfulness_inputs),
        code=judge_code("faithfulness", lambda wildcards: wildcards.judge),
    output:
        curves="results/{run}/curves/{model}/{dataset}/{method}/{target}-vs-{against}/{judge}/{shard}.parquet",
    log:
        "results/{run}/logs/faithfulness/{model}/{dataset}/{method}/{target}-vs-{against}/{judge}/{shard}.log",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("faithfulness"),
        device="auto",
        gpu=1,
    params:
        dataset=dataset_spec,
        shape=lambda wildcards: shape_of(wildcards.model),
        curves=lambda wildcards: entry_curves(explain_entry(wildcards)),
        steps=lambda wildcards: explain_entry(wildcards)["faithfulness"]["steps"],
        upsample=lambda wildcards: explain_entry(wildcards)["faithfulness"]["upsample"],
        seed=config["seed"],
        rival=lambda wildcards: judging_rival(wildcards.judge),
        vqvae_checkpoint=lambda wildcards: judge_checkpoint(wildcards, "vqvae"),
        var_checkpoint=lambda wildcards: judge_checkpoint(wildcards, "var"),
    script:
        "../../scripts/faithfulness.py"


rule explanation:
    input:
        unpack(explanation_files),
        published=published_file,
        code=code("explanation"),
    output:
        csv=report("results/{run}/tables/explanation.csv", category="Tables", caption="../report/explanation.rst"),
        markdown="results/{run}/tables/explanation.md",
        plot=report("results/{run}/tables/explanation.svg", category="Tables", caption="../report/explanation.rst"),
    log:
        "results/{run}/logs/explanation.log",
    conda:
        "../envs/varc.yaml"
    params:
        rows=explanation_params,
    script:
        "../../scripts/explanation.py"


rule gallery:
    input:
        unpack(gallery_inputs),
        code=code("gallery"),
    output:
        picture=report(
            "results/{run}/gallery/{model}/{dataset}.png", category="Gallery", caption="../report/gallery.rst"
        ),
    log:
        "results/{run}/logs/gallery/{model}/{dataset}.log",
    conda:
        "../envs/varc.yaml"
    params:
        pictures=lambda wildcards: next(e["gallery"] for e in entries_of(wildcards) if "gallery" in e),
        dataset=dataset_spec,
        shape=lambda wildcards: shape_of(wildcards.model),
        seed=config["seed"],
    script:
        "../../scripts/gallery.py"
