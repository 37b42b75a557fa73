"""Data sets of shifted images: what the config's key `shifts` stands for."""

from typing import NamedTuple

from workflow.mistakes import ConfigError, known


class ShiftRun(NamedTuple):
    """A classifier on a data set under a shift ("clean" at severity 0), and the name of the data set that it scores."""

    dataset: str
    shift: str
    severity: int
    classifier: str
    evaluated: str


def shifted_name(dataset, shift, severity):
    """The name of a shifted data set, e.g. "fashion-blur3"."""
    return f"{dataset}-{shift}{severity}"


def shifted_datasets(config):
    """The data sets that `shifts` makes: name -> (clean data set, shift, severity), in order."""
    return {
        shifted_name(entry["dataset"], shift, severity): (entry["dataset"], shift, severity)
        for entry in config.get("shifts", [])
        for shift in entry["names"]
        for severity in entry["severities"]
    }


def expand(config):
    """The config with the data sets that `shifts` makes, and its pairs in `evaluate`, those of the clean ones included.

    Raises ConfigError for an entry that contradicts the rest of the config.
    """
    check_shifts(config)
    made = {
        name: config["datasets"][dataset] | {"shift": {"name": shift, "severity": severity}}
        for name, (dataset, shift, severity) in shifted_datasets(config).items()
    }
    pairs = [
        {"datasets": [entry["dataset"], *names_of(entry)], "classifiers": entry["classifiers"]}
        for entry in config.get("shifts", [])
    ]
    return config | {"datasets": config["datasets"] | made, "evaluate": config["evaluate"] + pairs}


def names_of(entry):
    """The names of the data sets that an entry of `shifts` makes."""
    return list(shifted_datasets({"shifts": [entry]}))


def check_shifts(config):
    """Raises ConfigError for the first mistake in `shifts`."""
    seen = set()
    for i, entry in enumerate(config.get("shifts", [])):
        key, dataset = f"shifts: {i}", entry["dataset"]
        known(f"{key}: dataset", [dataset], config["datasets"])
        known(f"{key}: classifiers", entry["classifiers"], config["classifiers"])
        if "shift" in config["datasets"][dataset]:
            raise ConfigError(f"{key}: dataset: {dataset} has a shift already; name the data set without it")
        if dataset in seen:
            raise ConfigError(f"{key}: dataset: {dataset} is in an entry before; make one entry of the two")
        seen.add(dataset)
        for name in names_of(entry):
            if name in config["datasets"]:
                raise ConfigError(f"{key}: makes the data set {name}, which is there already; name that one otherwise")


def shift_runs(config):
    """What tables/robustness.csv compares, per entry, clean images first."""
    return [
        ShiftRun(*images, classifier, evaluated)
        for entry in config.get("shifts", [])
        for evaluated, images in [
            (entry["dataset"], (entry["dataset"], "clean", 0)),
            *shifted_datasets({"shifts": [entry]}).items(),
        ]
        for classifier in entry["classifiers"]
    ]


def without_shifted(pairs, config):
    """Those of (data set, ...) pairs whose data set is none that `shifts` makes."""
    made = shifted_datasets(config)
    return [pair for pair in pairs if pair[0] not in made]
