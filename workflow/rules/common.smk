import functools
import gc
import inspect
import os
import re

from snakemake.exceptions import WorkflowError

from varc.errors import InputError
from workflow.checkpoints import PARTS
from workflow.config.entry import ConfigError
from workflow.config.tables import CONTROLS, GRADIENT_METHODS, MASKED_METHODS
from workflow.gpu import needs
from workflow.imports import code_inputs, code_stamp, reads_images
from workflow.learning import STRATEGIES
from workflow.record import FILE, git_commit, record, set_aside, write_record
from workflow.sources import stamp, unfit, unfit_folder
from workflow.start import start
from workflow.threads import share_cores

share_cores(os.environ)
gc.set_threshold(100_000, 50, 100)  # a graph of thousands of jobs is no garbage: looking for it takes 15 % of a dry run

try:
    RUN, JOBS, EXPLAINING, LEARNING, TABLES, PLAN, SHARDS_KNOWN = start(CONFIG_FILES, config)
except (ConfigError, InputError) as error:
    raise WorkflowError(f"{CONFIG_NAME}: {error}") from None

CHECKPOINTS, SEED, PUBLISHED = RUN.checkpoints, RUN.config.seed, RUN.config.published or []
ON_GPU = set()  # the rules that use one


def one_of(names):
    """A wildcard constraint: one of the names."""
    return "|".join(sorted({re.escape(name) for name in names})) or r"(?!)"


wildcard_constraints:
    run=RUN.config.run,
    vqvae=r"[\w-]+",
    model=one_of(RUN.config.models),
    baseline=one_of(RUN.config.baselines),
    scorer=one_of([*RUN.config.models, *RUN.config.baselines]),
    dataset=one_of(RUN.config.datasets),
    classifier=one_of(RUN.config.classifiers),
    candidates=one_of(key[2] for key in [*RUN.scored, *RUN.pruned]),
    stage=one_of(key[3] for key in RUN.scored),
    noise=one_of(RUN.noises),
    shard=r"\d+",
    tasks=r"\d+",
    seed=r"\d+",
    role=r"[\w-]+?",
    randomised=r"(-randomised)?",
    method=one_of(key.method for key in EXPLAINING.maps),
    target=r"label|prediction|\d+",
    against=r"unconditional|runner_up|\d+",
    judge=r"[\w-]+",


def ask(method, get=None, then=None, **given):
    """An input function, or a parameter: what a method says to the wildcards that it takes, and what is given.

    Where it takes a tuple, as Map, that is made of the wildcards of its fields. get: which attribute of what it says is
    wanted, if not all. then: what is asked with that in turn.
    """
    takes = {name: item.annotation for name, item in inspect.signature(method).parameters.items() if name not in given}
    tuples = {name: kind for name, kind in takes.items() if hasattr(kind, "_fields")}
    single = [name for name in takes if name not in tuples]

    def asked(wildcards):
        made = {name: kind(*(wildcards[field] for field in kind._fields)) for name, kind in tuples.items()}
        found = method(**{name: wildcards[name] for name in single}, **made, **given)
        found = getattr(found, get) if get else found
        return marked(then(found) if then else found)

    return asked


def marked(files):
    """Public weights are ancient: their content counts (as parameters), and not their time."""
    if isinstance(files, dict):
        return {key: marked(value) for key, value in files.items()}
    if isinstance(files, list):
        return [marked(file) for file in files]
    return ancient(files) if isinstance(files, str) and files in CHECKPOINTS.given else files


WEIGHTS_KNOWN = {f"{part}_checkpoint": ask(CHECKPOINTS.checkpoint, part=part) for part in PARTS}  # of a rule's {model}


def reported(file, category, caption=None):
    """A file of the run that the report shows; its caption in workflow/report/ has the file's name, unless given."""
    caption = caption or os.path.splitext(os.path.basename(file))[0]
    return report(f"results/{{run}}/{file}", category=category, caption=f"../report/{caption}.rst")


def table(name):
    """The outputs that all tables have."""
    return {"csv": reported(f"tables/{name}.csv", "Tables"), "markdown": f"results/{{run}}/tables/{name}.md"}


def code(script, family=None):
    """What stands for the library files that a rule's result depends on: an edit reruns what it touches.

    family: what tells the rival family of the wildcards, if any.
    """
    own = [code_stamp(script, code_inputs(f"scripts/{script}.py", workflow.basedir))]
    return (lambda wildcards: own + family_code(family(wildcards))) if family else own


@functools.cache
def family_code(family):
    """What stands for the library files that a family is made of: its own, and all that it imports."""
    if family is None:
        return []
    file = f"varc/baselines/{family}.py"
    own = os.path.relpath(f"{workflow.basedir}/{file}")
    return [code_stamp(f"family_{family}", sorted({*code_inputs(file, workflow.basedir), own}))]


for entry in RUN.config.baselines.values():  # stamps must be there before snakemake looks which files are
    family_code(entry.family)
FAMILIES = sorted({file for _, name in RUN.rival_pairs for file in family_code(RUN.family_of(name))})


def finetune_processes():
    """How many processes share a fine-tuning: the rule's resource, which --set-resources may have changed."""
    return workflow.get_rule("finetune").resources["processes"].value


@functools.cache
def planned_needs():
    """What the largest jobs take, as far as a plan can tell."""
    return PLAN.needs(finetune_processes())


def gpu_job(rule, mem_mb, runtime):
    """The resources of one that uses a GPU, with memory and minutes where no plan tells. The one place that names it:
    all others run beside snakemake itself. A profile's default-resources may ask for GPUs in its own way."""
    ON_GPU.add(rule)
    gpu = {} if "gpu" in (workflow.resource_settings.default_resources or {}) else {"gpu": 1}
    return {**needs(rule, mem_mb, runtime, planned_needs), **gpu, "device": "auto"}


def check_sources():
    """Stops a real run, before its first job, where what its jobs read is absent, or the number of shards has changed."""
    jobs = [(job.rule.name, dict(job.params.items())) for job in workflow.dag.needrun_jobs() if job.rule.script]
    names = {name for name, _ in jobs}
    reading = {name for name in names if reads_images(f"scripts/{name}.py", workflow.basedir)}
    message = unfit(RUN, [params for name, params in jobs if name in reading], [params for _, params in jobs])
    if not message and names - {"manifest", "measure_rates", "plan"}:  # what depends on shards
        message = unfit_folder(RUN.folder, RUN.shards, SHARDS_KNOWN)
    if message:
        raise WorkflowError(f"{CONFIG_NAME}: {message}")


def keep_record(targets):
    """Writes down what the run is made with, and moves the tables away that its config does not ask for (any more).

    targets: of the whole config, whatever the command line asks for.
    """
    outputs = [os.path.split(file) for rule in workflow.rules for file in rule.output]
    made = [name for folder, name in outputs if folder.endswith("/tables")]
    try:
        write_record(RUN.path(FILE), record(RUN, config, git_commit(workflow.basedir)))
        stale = set_aside(RUN, made, targets)
    except InputError as error:
        raise WorkflowError(str(error)) from None
    if stale:
        logger.info(f"{RUN.path('tables')}: {', '.join(stale)} moved to stale/: {CONFIG_NAME} does not ask for them")
