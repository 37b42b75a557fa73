from snakemake.utils import min_version

min_version("9.14.8")


if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


CONFIG_FILES = list(map(str, workflow.overwrite_configfiles)) or ["config/config.yaml"]
CONFIG_NAME = ", ".join(CONFIG_FILES)


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/adaptive.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/baselines.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/incremental.smk"
include: "workflow/rules/explain.smk"
include: "workflow/rules/plan.smk"


workflow.localrules(*(rule.name for rule in workflow.rules if rule.name not in ON_GPU))
for made in workflow.rules:
    made.conda_env = "../envs/varc.yaml"  # of all scripts, with --software-deployment-method conda


TARGETS = [*TABLES.targets(), *EXPLAINING.targets()]


onstart:
    check_sources()
    keep_record(TARGETS)


rule all:
    default_target: True
    input:
        TARGETS,
