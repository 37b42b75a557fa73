from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version, validate

from workflow.checks import schema_mistake
from workflow.config_files import config_mistake

min_version("9.14.8")


if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


CONFIG_FILES = list(map(str, workflow.overwrite_configfiles)) or ["config/config.yaml"]
CONFIG_NAME = ", ".join(CONFIG_FILES)
SCHEMA = f"{workflow.basedir}/workflow/schemas/config.schema.yaml"

if mistake := config_mistake(CONFIG_FILES, config) or schema_mistake(config, SCHEMA):
    raise WorkflowError(f"{CONFIG_NAME}: {mistake}")  # in one line; validate() would print the schema

validate(config, SCHEMA)  # sets the defaults


include: "workflow/rules/common.smk"
include: "workflow/rules/common_models.smk"
include: "workflow/rules/common_adaptive.smk"
include: "workflow/rules/common_ablation.smk"
include: "workflow/rules/common_incremental.smk"
include: "workflow/rules/common_explain.smk"
include: "workflow/rules/common_plan.smk"
include: "workflow/rules/common_baselines.smk"
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


onstart:
    check_sources()


rule all:
    default_target: True
    input:
        tables(),
