"""What the entries of rivals must fulfil beyond the schema."""

from workflow.families import families, has_function, scoring, settings_mistake
from workflow.mistakes import ConfigError, check_size, known


def check_baseline(key, name, baseline, config):
    """A rival's family, its keys, and where its weights come from."""
    if name in config["models"]:
        raise ConfigError(f"{key}: models has that name too; choose another")
    known(f"{key}: family", [baseline["family"]], families())
    if ("train" in baseline) == ("checkpoint" in baseline):
        raise ConfigError(f"{key}: a baseline has either train or checkpoint; give one of them")
    if ("classes" in baseline) != ("checkpoint" in baseline):
        raise ConfigError(f"{key}: classes goes with checkpoint: how many the file knows; give both or none")
    check_settings(f"{key}: shape", baseline["family"], "Shape", baseline["shape"])
    check_shape(f"{key}: shape", baseline["shape"])
    if "checkpoint" in baseline and not has_function(baseline["family"], "load_public"):
        raise ConfigError(f"{key}: checkpoint: family {baseline['family']} has no public weights; give train instead")
    if "train" in baseline and baseline["shape"].get("latent") is True:
        raise ConfigError(f"{key}: shape: latent goes with checkpoint; training here is on pixels")
    if "train" in baseline:
        data = baseline["train"]["data"]
        known(f"{key}: train: data", [data], config["datasets"])
        check_size(f"{key}: train", data, config["datasets"], "the baseline", baseline["shape"]["image_size"])
        given = {k: v for k, v in baseline["train"].items() if k != "data"}
        check_settings(f"{key}: train", baseline["family"], "Training", given)


def check_shape(key, shape):
    """Patches must fill the image (Stable Diffusion's latents are an eighth of its side), and heads the width."""
    side = shape["image_size"] // (8 if shape.get("latent") is True else 1)
    if side % shape.get("patch_size", 1):
        raise ConfigError(f"{key}: patch_size {shape['patch_size']} does not divide the side {side}")
    if shape.get("width", 0) % shape.get("heads", 1):
        raise ConfigError(f"{key}: heads {shape['heads']} does not divide width {shape['width']}")
    if shape.get("channels", 3) not in (1, 3):
        raise ConfigError(f"{key}: channels is {shape['channels']}; grey images have 1, colour images 3")


def check_baseline_classifier(key, classifier, baselines):
    """A rival's stages: the family's keys, and `keep`, which falls and ends with 1 (or is not given)."""
    known(f"{key}: baseline", [classifier["baseline"]], baselines)
    keep = None
    for i, stage in enumerate(classifier["stages"]):
        where = f"{key}: stages: {i}"
        check_settings(where, baselines[classifier["baseline"]]["family"], "Scoring", scoring(stage))
        if keep is not None and stage.get("keep", 1) >= keep:
            raise ConfigError(f"{where}: keep is {stage.get('keep', 1)} after {keep}; it must fall from stage to stage")
        keep = stage.get("keep", 1)
    if keep != 1:
        raise ConfigError(f"{key}: stages: the last stage has keep {keep}; it must be 1, the prediction")
    if "calibrate" in classifier and len(classifier["stages"]) > 1:
        raise ConfigError(f"{key}: calibrate goes with one stage, which scores all classes; take it away")


def check_strategies(key, entry, classifier):
    """The strategies of an entry of `incremental` must be those of its classifier's kind."""
    for strategy in entry["strategies"]:
        if strategy.startswith("family_") != ("baseline" in classifier):
            kind = "a baseline" if "baseline" in classifier else "a model"
            raise ConfigError(f"{key}: strategies: {strategy} does not go with {entry['classifier']}, which has {kind}")


def check_learning_baseline(key, entry, config):
    """A rival that learns task by task is trained here, by its own settings."""
    name = config["classifiers"][entry["classifier"]]["baseline"]
    baseline = config["baselines"][name]
    if "train" not in baseline:
        raise ConfigError(f"{key}: classifier: baseline {name} has public weights; name one that is trained here")
    if "train" in entry:
        raise ConfigError(f"{key}: train does not go with a baseline; baselines: {name}: train says it")
    for dataset in (entry["data"], entry["test"]):
        check_size(key, dataset, config["datasets"], f"baseline {name}", baseline["shape"]["image_size"])


def check_settings(key, family, settings, given):
    """The keys of a family, read from its file."""
    if mistake := settings_mistake(family, settings, given):
        raise ConfigError(f"{key}: {mistake}")
