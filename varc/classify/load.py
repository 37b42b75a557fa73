"""varc.load: a classifier of a run, or of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from varc.baselines.family import family
from varc.baselines.family import settings as family_settings
from varc.baselines.weights import read_baseline
from varc.classify.classifiers import (
    AdaptiveClassifier,
    AdaptiveRivalClassifier,
    CertifiedClassifier,
    Classifier,
    FunnelClassifier,
    RivalClassifier,
)
from varc.classify.runs import RunFolder
from varc.data.classes import class_ids, data_set_classes, read_class_list
from varc.data.preprocess import PREPARED, Resize
from varc.device import check_precision, pick_device
from varc.errors import InputError, brief
from varc.explain.pixels import given_settings, trained_settings
from varc.freshness import check_made_with
from varc.metrics.calibration import fit_temperature
from varc.models.arithmetic import Arithmetic
from varc.models.pair import Pair, load_pair, read_pair
from varc.models.var import VAR
from varc.scoring.adaptive import read_thresholds
from varc.scoring.certified import read_delta
from varc.scoring.combining import combined
from varc.scoring.funnel import all_classes
from varc.scoring.labelled import read_weighted_scores
from varc.scoring.likelihood import computing
from varc.scoring.scale_weights import read_scale_weights
from varc.scoring.smoothing import absolute_sigma
from varc.scoring.spelling import FixedStage, read_funnel


def load(
    run: str | Path | None = None,
    classifier: str | None = None,
    *,
    dataset: str | None = None,
    vqvae: str | Path | None = None,
    var: str | Path | None = None,
    classes: str | Path | None = None,
    funnel: str | Sequence[Mapping[str, Any]] | None = None,
    size: int | None = None,
    resize: Resize = None,
    border: int | None = None,
    preprocess: str | None = None,
    sigma: float | Mapping[str, float] | None = None,
    seed: int | None = None,
    patch_nums: Sequence[int] | None = None,
    norm_groups: int | None = None,
    device: str = "auto",
) -> Classifier:
    """A classifier: of a run, varc.load("results/digits", "a_varc_plus"), or of weights, varc.load(vqvae=..., var=...).

    Of a run: classifier is its name, not needed where there is one; dataset the one that pictures are like, needed
    where those that the run evaluates it on differ in classes or preprocessing. Weights, funnel, noise and
    preprocessing are the run's, and so is the temperature where one is fitted.

    Of weights: files trained here (with a card beside them) or public checkpoints. classes: a class list (CSV), the
    candidates and their names; default: all classes. funnel: stages as in a config, or text such as
    "6x1-keep10 10x1-keep3 10x3" (scales x samples); default: all classes at all scales. sigma, seed (default 0): of the
    noise of samples beyond the first. size, resize, border, preprocess: as in a data set's entry; default: those of the
    images that the VQ-VAE was trained on, else a picture of another size is resized and cropped as by size alone.
    patch_nums, norm_groups: what no tensor shows, of shapes that are not public.

    device: "auto", "cpu", "cuda". Raises InputError for anything that is missing, damaged or does not fit.
    """
    of_weights = {
        "vqvae": vqvae, "var": var, "classes": classes, "funnel": funnel, "size": size, "resize": resize,
        "border": border, "preprocess": preprocess, "sigma": sigma, "seed": seed, "patch_nums": patch_nums,
        "norm_groups": norm_groups,
    }  # fmt: skip
    given = [key for key, value in of_weights.items() if value is not None]
    if run is not None:
        if given:
            raise InputError(f"{given[0]}: the run says it; leave it out, or give vqvae and var in place of the run")
        return load_of_run(RunFolder(run), classifier, dataset, device)
    for key, value in {"classifier": classifier, "dataset": dataset}.items():
        if value is not None:
            raise InputError(f"{key}: {brief(value)} is a run's; give the folder of the run, results/<run>")
    if vqvae is None or var is None:
        absent = "vqvae" if vqvae is None else "var"
        raise InputError(f"{absent} is missing; give a run and a classifier, or the files vqvae and var")
    settings = given_settings(size, resize, border, preprocess)
    pair = load_pair(vqvae, var, patch_nums=patch_nums, norm_groups=norm_groups)
    stages = read_funnel(funnel, len(pair.var.config.patch_nums))
    listed = read_class_list(classes) if classes is not None else None
    known = range(pair.var.config.num_classes)
    names = {i: f"class {i}" for i in known} if listed is None else {entry.class_id: entry.name for entry in listed}
    all_classes(sorted(names), 1, pair.var_card)
    chosen = pick_device(device)
    pair = on_device(pair, chosen)
    return FunnelClassifier(
        names=names,
        side=pair.vqvae.config.image_size,
        settings=trained_settings(vqvae) if settings is None else settings,
        seed=checked_seed(seed),
        device=chosen,
        pair=pair,
        sigma=checked_sigma(sigma, stages, pair),
        models=of_stages(pair, stages, chosen),
        stages=stages,
        weights=[None] * len(stages),
    )


def checked_seed(seed: int | None) -> int:
    """The seed, 0 where none is given. Raises InputError for what is none."""
    if seed is None:
        return 0
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed is {brief(seed)}; expected a whole number from 0 on")
    return seed


def checked_sigma(sigma: Any, stages: Sequence[FixedStage], pair: Pair) -> float | None:
    """The noise's standard deviation, absolute. Raises InputError where samples need one and there is none."""
    most = max(stage.samples for stage in stages)
    if sigma is None:
        if most > 1:
            raise InputError(f"sigma is missing: the funnel has a stage of {most} samples; give the noise's sigma")
        return None
    number = sigma.get("spread") if isinstance(sigma, Mapping) and set(sigma) == {"spread"} else sigma
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < np.inf:
        raise InputError(f"sigma is {brief(sigma)}; expected a number above 0, or {{spread: a number above 0}}")
    return absolute_sigma(sigma, pair.vqvae_card.get("feature_std"))


def in_precision(pair: Pair, precision: str, device: Any) -> VAR:
    """The VAR of models on a device, computing in a precision. Raises InputError for one that the device has not."""
    check_precision(precision, device)
    return computing(pair.var, Arithmetic(precision))


def of_stages(pair: Pair, stages: Sequence[FixedStage], device: Any) -> dict[str, VAR]:
    """The same in each precision of some stages."""
    return {precision: in_precision(pair, precision, device) for precision in {stage.precision for stage in stages}}


def on_device(pair: Pair, device: Any) -> Pair:
    """The models on a device."""
    return pair._replace(vqvae=pair.vqvae.to(device), var=pair.var.to(device))


def load_of_run(run: RunFolder, name: str | None, dataset: str | None, device: str) -> Classifier:
    """A classifier of a run; see load."""
    name, told = run.classifier(name)
    images = run.data_sets(told["datasets"], dataset)
    spec, chosen = images[0].spec, pick_device(device)
    classes = data_set_classes(spec)
    shared: dict[str, Any] = {
        "names": {entry.class_id: entry.name for entry in classes},
        "settings": {key: spec[key] for key in (*PREPARED, "shift") if key in spec},
        "seed": run.told["seed"],
        "device": chosen,
        "known": images,
    }
    if told["kind"] == "rival":
        return load_rival(run, told, shared)
    files = {part: run.paths(told["weights"][part]) for part in ("vqvae", "var")}
    for part, file in files.items():
        if file is None:
            raise InputError(f"{run.folder}: the {part} of {name} was not there when the run began; run it again")
    known = (told["checkpoints"][part] for part in ("vqvae", "var"))
    pair = on_device(read_pair(files["vqvae"], files["var"], *known), chosen)
    all_classes(class_ids(classes), 1, pair.var_card)
    scales, weights = len(pair.var.config.patch_nums), run.paths(told["scale_weights"])
    sigma = told["sigma"]
    shared |= {
        "side": pair.vqvae.config.image_size,
        "pair": pair,
        "sigma": None if sigma is None else absolute_sigma(sigma, pair.vqvae_card.get("feature_std")),
        "temperature": temperature(run, told, pair.made_with),
    }
    if adaptive := told.get("adaptive"):
        return AdaptiveClassifier(
            **shared,
            var=in_precision(pair, adaptive["precision"], chosen),
            thresholds=read_thresholds(run.path(adaptive["thresholds"]), pair.made_with, files["var"]),
            samples=adaptive["samples"],
            weights=read_scale_weights(weights, pair.made_with, scales),
        )
    if certified := told.get("certified"):
        return CertifiedClassifier(
            **shared,
            scales=certified["scales"],
            quick=in_precision(pair, certified["precision"], chosen),
            delta=read_delta(run.path(certified["delta"]), pair.made_with, files["var"]),
            weights=read_scale_weights(weights, pair.made_with, certified["scales"]),
        )
    stages = [FixedStage(**stage) for stage in told["stages"]]
    return FunnelClassifier(
        **shared,
        models=of_stages(pair, stages, chosen),
        stages=stages,
        weights=[read_scale_weights(weights, pair.made_with, stage.scales) for stage in stages],
    )


def load_rival(
    run: RunFolder, told: dict[str, Any], shared: dict[str, Any]
) -> RivalClassifier | AdaptiveRivalClassifier:
    """A rival of a run. shared: what all its classifiers have."""
    entry = dict(told["baseline"])
    if "checkpoint" in entry:
        found = entry["checkpoint"]
        paths = {part: run.path(file) for part, file in found.items()} if isinstance(found, dict) else run.path(found)
        entry["checkpoint"] = paths
    digests = {run.path(file): sha256 for file, sha256 in told["public_sha256"].items()}
    kind: Any = family(entry["family"])
    model, card = read_baseline(kind, entry, run.paths(told["weights"]), digests)
    all_classes(sorted(shared["names"]), 1, card)
    made_with = {"weights_sha256": card["sha256"]}
    shared |= {"side": entry["shape"]["image_size"], "kind": kind, "model": model.to(shared["device"])}
    if adaptive := told.get("adaptive"):
        thresholds = read_thresholds(run.path(adaptive["thresholds"]), made_with, "the classifier's weights")
        scoring = family_settings(kind.Adaptive, adaptive["scoring"])
        return AdaptiveRivalClassifier(**shared, adaptive=scoring, thresholds=thresholds)
    return RivalClassifier(
        **shared,
        temperature=temperature(run, told, made_with),
        scorings=[family_settings(kind.Scoring, stage["scoring"]) for stage in told["stages"]],
        keeps=[stage["keep"] for stage in told["stages"]],
    )


def temperature(run: RunFolder, told: dict[str, Any], made_with: dict[str, str]) -> float | None:
    """The temperature that the run's table of calibration fits, from the same scores; None where the run has none, or
    has not scored the images that it is fitted on. made_with: SHA-256 of the models."""
    if not told["temperature"]:
        return None
    manifest, scores = run.path(told["temperature"]["manifest"]), run.paths(told["temperature"]["scores"])
    if not all(Path(file).exists() for file in (manifest, *scores)):
        return None
    for key, sha256 in made_with.items():
        check_made_with(scores, key, sha256, "the classifier's weights")
    known = read_weighted_scores(manifest, scores, run.paths(told.get("scale_weights")))
    return fit_temperature(
        combined(list(known.samples), told["temperature"]["combine"]), known.labels, known.class_labels
    )
