@functools.cache
def planned_works():
    """All that the run's scoring takes; see workflow/planning.py."""
    return run_works(config, RIVAL_ENTRIES)


def planned_models():
    return sorted({work.model for work in planned_works() if not of_rival(work)})


def planned_images(wildcards=None):
    """data set -> how many images it has, None where only its manifest tells."""
    return known_images(planned_works(), config, GIVEN_IMAGES)


def planned_kinds(wildcards):
    """The kinds of work whose rates a plan needs, each with the candidates that it is measured with."""
    most = {}
    for work in planned_works():
        if not of_rival(work):
            most[kind(work)] = max(work.candidates, most.get(kind(work), 0))
    return [(*each, candidates) for each, candidates in most.items()]


def planned_rivals(wildcards):
    """Name -> a rival's stage, with its baseline and what that is trained on: what its cost is counted from."""
    found = {}
    scored = {work.dataset for work in planned_works() if of_rival(work)}
    classes = sorted({class_count(config["datasets"][name]) for name in scored})
    for entry in rivals_evaluated().values():
        baseline = BASELINES[entry["baseline"]]
        training = config["datasets"][baseline["train"]["data"]] if "train" in baseline else None
        for stage in [stage for count in classes for stage in rival_stages(entry, count)]:
            found[stage["name"]] = stage | {"baseline": baseline, "training": training}
    return found


def class_lists(datasets):
    """The class lists of these entries, each once."""
    return sorted({spec["classes"] for spec in datasets if "classes" in spec})


def plan_inputs(wildcards):
    """What the config does not tell: rates, numbers of images, shapes."""
    return {
        "rates": [] if "gflops_per_second" in config else RATES,
        "manifests": [f"{RUN}/datasets/{name}.parquet" for name, n in planned_images().items() if n is None],
        "classes": class_lists(config["datasets"][name] for name in [*planned_images(), *rival_training()]),
        "checkpoints": shape_files_of(planned_models()),
        "families": rival_families(),
    }


@functools.cache
def planned_needs():
    """rule -> (bytes, seconds) of its largest job, as far as a plan can tell."""
    return job_needs(config, RIVAL_ENTRIES, GIVEN_IMAGES, RATES, SHARDS)


def needs(rule):
    """mem_mb and runtime of a rule's jobs; see workflow/needs.py."""
    return first_needs(rule, planned_needs)
