from snakemake.utils import min_version, validate

min_version("9.14.8")


if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


validate(config, "workflow/schemas/config.schema.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/tables.smk"


onstart:
    check_sources()


rule all:
    default_target: True
    input:
        tables(),
