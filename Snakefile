from snakemake.utils import min_version

from varc.errors import InputError, in_one_line
from workflow import earlier
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


if workflow.is_main_process:  # jobs write what it has checked
    written = [file for rule in workflow.rules for file in [*rule.output, *rule.log]]
    if message := outside(written, RUN.folder, CHECKPOINTS.absent()):
        raise WorkflowError(f"{CONFIG_NAME}: {in_one_line(message)}")


workflow.localrules(*(rule.name for rule in workflow.rules if rule.name not in ON_GPU))
for made in workflow.rules:
    made.conda_env = "../envs/varc.yaml"  # of all scripts, with --software-deployment-method conda


TARGETS = [*TABLES.targets(), *EXPLAINING.targets()]
BEFORE = {}  # the files that jobs had made before, and Snakemake's records of them


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
    try:
        BEFORE.update(earlier.hold(workflow.dag.needrun_jobs(), workflow.persistence))
    except OSError as error:
        raise WorkflowError(f"{RUN.folder}: cannot be written ({in_one_line(str(error))}); allow it") from None
    for handler in workflow.logger_manager.get_log_handlers():
        if hasattr(handler, "expect"):  # scripts/summary.py
            seconds = PLAN.seconds_per_job(finetune_processes())
            made = {
                job.jobid: (job.rule.name, os.path.dirname([*job.output, ""][0]))
                for job in workflow.dag.needrun_jobs()
            }
            handler.expect({job: seconds.get(work, 0.0) for job, work in made.items()})


onerror:
    if workflow.scheduler.running:  # jobs that nobody waited for
        logger.info(
            "Interrupted; the same command goes on from here, long jobs from what they saved last (once a minute)"
        )
    if files := earlier.put_back(BEFORE, workflow.persistence):
        logger.info(
            f"{len(files)} files of jobs that did not end are as before the run: {', '.join(files[:4])} ..."
        )


rule all:
    default_target: True
    input:
        TARGETS,
