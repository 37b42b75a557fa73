rule explain:
    input:
        unpack(explain_inputs),
        code=code("explain"),
    output:
        maps="results/{run}/maps/{model}/{dataset}/tmi/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/explain/{model}/{dataset}/tmi/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        target=r"label|prediction|\d+",
        against=r"unconditional|runner_up|\d+",
    conda:
        "../envs/varc.yaml"
    resources:
        **needs("explain"),
        device="auto",
        gpu=1,
        shards=SHARDS,
    params:
        target=lambda wildcards: explain_entry(wildcards)["target"],
        against=lambda wildcards: explain_entry(wildcards)["against"],
        images=lambda wildcards: explain_entry(wildcards).get("images"),
        seed=config["seed"],
        vqvae_checkpoint=lambda wildcards: checkpoint(wildcards.model, "vqvae"),
        var_checkpoint=lambda wildcards: checkpoint(wildcards.model, "var"),
    script:
        "../../scripts/explain.py"
