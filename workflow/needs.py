"""What a cluster job of each rule asks for: memory of the node, and minutes."""

import math

# MB and minutes of a first attempt where no plan tells: enough for the public d16 and for shards of 10 to 30 minutes. A
# second attempt gets twice as much (the profile says how many there are). Rules that are not here run beside snakemake
# itself (localrules).
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


PLANNED_AS = {"score_guided": "score"}  # rules that a plan counts as another
START = 4000, 15  # MB and minutes beyond the plan: CUDA's context and libraries; loading of models and images


def needs(rule, planned):
    """mem_mb and runtime, as resources of a rule; `--set-resources` or a profile's set-resources go before them.

    planned() gives rule -> (bytes or None, seconds) of its largest job, as far as they are known
    (workflow.planning.job_needs): twice as much is asked for, and START.
    """

    def first_attempt():
        memory, minutes = NEEDS[rule]
        if known := planned().get(PLANNED_AS.get(rule, rule)):
            memory = memory if known[0] is None else START[0] + math.ceil(2 * known[0] / 1e6)
            minutes = START[1] + math.ceil(2 * known[1] / 60)
        return memory, minutes

    return {
        "mem_mb": lambda wildcards, attempt: attempt * first_attempt()[0],
        "runtime": lambda wildcards, attempt: attempt * first_attempt()[1],
    }
