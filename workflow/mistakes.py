"""What all checks of a config share."""


class ConfigError(ValueError):
    """A config that contradicts itself."""


def known(key, names, table):
    """Every name must be an entry of the table."""
    for name in names:
        if name not in table:
            raise ConfigError(f"{key}: {name!r} is not defined; defined are {', '.join(sorted(table)) or 'none'}")


def check_size(key, dataset, datasets, model, size):
    """The images of a data set must have the size that the model takes, as far as the config tells both."""
    found = datasets[dataset].get("size", size)
    if size is not None and found != size:
        raise ConfigError(f"{key}: data set {dataset} has size {found}, but {model} takes {size}")
