"""What a cluster job of each rule asks for: memory of the node, and minutes."""

# MB and minutes of a first attempt, enough for the public d16 and for shards of 10 to 30 minutes. A second attempt gets
# twice as much (the profile says how many there are). Rules that are not here run beside snakemake itself (localrules).
NEEDS = {
    "train_vqvae": (16_000, 240),
    "train_var": (16_000, 480),
    "finetune": (32_000, 720),
    "sample": (16_000, 30),
    "measure_rates": (16_000, 30),
    "encode": (16_000, 60),
    "tokenize": (16_000, 60),
    "score": (16_000, 120),
    "score_guided": (16_000, 120),
    "score_adaptive": (16_000, 120),
    "score_tokens": (16_000, 60),
    "attribute": (16_000, 240),
    "attribute_network": (16_000, 60),
    "train_judge": (16_000, 120),
    "train_baseline": (16_000, 480),
    "score_baseline": (16_000, 240),
    "faithfulness": (16_000, 240),
    "learn_tasks_var": (16_000, 240),
    "learn_tasks_convnet": (16_000, 240),
    "learn_tasks_baseline": (16_000, 240),
}


def needs(rule):
    """mem_mb and runtime, as resources of a rule; `--set-resources` or a profile's set-resources go before them."""
    memory, minutes = NEEDS[rule]
    return {
        "mem_mb": lambda wildcards, attempt: attempt * memory,
        "runtime": lambda wildcards, attempt: attempt * minutes,
    }
