from snakemake.utils import min_version

from varc.errors import InputError, in_one_line
from workflow.outputs import outside
from workflow.record import keep
from workflow.sources import unfit

min_version("9.14.8")


if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


CONFIG_FILES = list(map(str, workflow.overwrite_configfiles)) or ["config/config.yaml"]
CONFIG_NAME = in_one_line(", ".join(CONFIG_FILES))


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
include: "workflow/rules/report.smk"


if os.path.isfile(RUN.path("report/front.html")):  # what the report opens on

    report: "workflow/report/front.rst"


if workflow.is_main_process:  # jobs write what it has checked
    written = [file for rule in workflow.rules for file in [*rule.output, *rule.log]]
    if message := outside(written, RUN.folder, CHECKPOINTS.absent()):
        raise WorkflowError(f"{CONFIG_NAME}: {in_one_line(message)}")


workflow.localrules(*(rule.name for rule in workflow.rules if rule.name not in ON_GPU))
for made in workflow.rules:
    made.conda_env = "../envs/varc.yaml"  # of all scripts, with --software-deployment-method conda


onstart:
    jobs = [(job.rule.name, dict(job.params.items())) for job in workflow.dag.needrun_jobs() if job.rule.script]
    # Nothing begins where what the jobs read is absent, or the number of shards has changed.
    if message := unfit(RUN, SHARDS_KNOWN, jobs, workflow.basedir):
        raise WorkflowError(f"{CONFIG_NAME}: {in_one_line(message)}")
    made = [file for rule in workflow.rules for file in rule.output]
    stale = []
    try:
        if {name for name, _ in jobs} != {"verify"}:  # which looks at what the run began with before
            stale = keep(RUN, GIVEN, workflow.basedir, made, TARGETS)
    except (InputError, OSError) as error:  # OSError: a source that cannot be read
        raise WorkflowError(in_one_line(str(error))) from None
    if stale:
        logger.info(
            f"{RUN.path('tables')}: {', '.join(stale)} moved to stale/: {CONFIG_NAME} does not ask for them"
        )


rule all:
    default_target: True
    input:
        TARGETS,
        PAGES.targets(),
