@functools.cache
def planned_works():
    """All that the run's scoring takes; see workflow/planning.py."""
    return run_works(config)


def planned_models():
    return sorted({work.model for work in planned_works()})


def planned_images(wildcards=None):
    """data set -> how many images it has, None where only its manifest tells."""
    return known_images(planned_works(), config, GIVEN_IMAGES)


def planned_kinds(wildcards):
    """The kinds of work whose rates a plan needs, each with the candidates that it is measured with."""
    most = {}
    for work in planned_works():
        most[kind(work)] = max(work.candidates, most.get(kind(work), 0))
    return [(*each, candidates) for each, candidates in most.items()]


def plan_inputs(wildcards):
    """What the config does not tell: rates, numbers of images, shapes."""
    return {
        "rates": [] if "gflops_per_second" in config else RATES,
        "manifests": [f"{RUN}/datasets/{name}.parquet" for name, n in planned_images().items() if n is None],
        "classes": sorted(
            {spec["classes"] for name in planned_images() if "classes" in (spec := config["datasets"][name])}
        ),
        "checkpoints": shape_files_of(planned_models()),
    }


@functools.cache
def planned_needs():
    """rule -> (bytes, seconds) of its largest job, as far as a plan can tell."""
    return job_needs(config, GIVEN_IMAGES, RATES, SHARDS)


def needs(rule):
    """mem_mb and runtime of a rule's jobs; see workflow/needs.py."""
    return first_needs(rule, planned_needs)
