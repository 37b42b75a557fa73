import functools
import gc
import os

from snakemake.exceptions import WorkflowError

from varc.errors import InputError
from workflow.checkpoints import PARTS
from workflow.config.tables import CONTROLS, GRADIENT_METHODS, MASKED_METHODS, MEAN_MASK, TMI_METHODS
from workflow.gpu import needs
from workflow.imports import family_stamp, script_stamp
from workflow.learning import STRATEGIES
from workflow.pages import Pages
from workflow.sources import begun, stamp
from workflow.start import start
from workflow.threads import share_cores
from workflow.wildcards import asking, constraints, one_of

share_cores(os.environ)
gc.set_threshold(100_000, 50, 100)  # a graph of thousands of jobs is no garbage: looking for it takes 15 % of a dry run

try:
    RUN, JOBS, EXPLAINING, LEARNING, TABLES, PLAN, SHARDS_KNOWN = start(
        CONFIG_FILES, config, job=not workflow.is_main_process
    )
except InputError as error:
    raise WorkflowError(f"{CONFIG_NAME}: {error}") from None

CHECKPOINTS, SEED, PUBLISHED = RUN.checkpoints, RUN.config.seed, RUN.config.published or []
GIVEN = dict(config)  # as its author wrote it
config["seed"] = SEED  # for jobs: what they read was drawn with it
ON_GPU = set()  # the rules that use one


wildcard_constraints:
    **constraints(RUN, EXPLAINING),


def ask(method, get=None, then=None, **given):
    """An input function, or a parameter: what a method says to the wildcards, see workflow.wildcards.asking."""
    asked = asking(method, get, then, given)
    return lambda wildcards: marked(asked(wildcards))


def marked(files):
    """Public weights are ancient: their content counts (as parameters), and not their time."""
    if isinstance(files, dict):
        return {key: marked(value) for key, value in files.items()}
    if isinstance(files, list):
        return [marked(file) for file in files]
    return ancient(files) if isinstance(files, str) and files in CHECKPOINTS.given else files


WEIGHTS_KNOWN = {f"{part}_checkpoint": ask(CHECKPOINTS.checkpoint, part=part) for part in PARTS}  # of a rule's {model}


def table(name):
    """The outputs that all tables have."""
    return {"csv": f"results/{{run}}/tables/{name}.csv", "markdown": f"results/{{run}}/tables/{name}.md"}


def code(script, family=None):
    """What stands for the library files that a rule's result depends on: an edit reruns what it touches.

    family: what tells the rival family of the wildcards, if any.
    """
    own = [script_stamp(script, CODE)]
    return (lambda wildcards: own + family_code(family(wildcards))) if family else own


@functools.cache
def family_code(family):
    """What stands for the library files of a family, if there is one."""
    return [family_stamp(family, CODE)] if family else []


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


TARGETS = [*TABLES.targets(), *EXPLAINING.targets()]
PAGES = Pages(RUN, TARGETS)


def reported(page):
    """A page that the report lists by what it says."""
    shown = {"category": PAGES.category(page), "labels": {"shows": PAGES.title(page)}}
    return report(PAGES.file(page, "{run}"), caption=os.path.abspath(PAGES.caption(page)), **shown)
