"""What a run tells of its classifiers, so that varc.load can classify other pictures by them: plain data."""

import json
from typing import Any

from workflow.run import Run
from workflow.stages import AdaptiveRivalStage, AdaptiveScaleStage, RivalStage, ScaleStage

FILE = "classifiers.json"  # below the run's folder; read by varc.classify.runs


def record(run: Run) -> dict[str, Any]:
    """The classifiers that a run evaluates, with their stages and files as its jobs take them, and its data sets."""
    names = sorted({name for _, name in run.pairs})
    found = {
        "run": run.config.run,
        "seed": run.config.seed,
        "datasets": {name: run.dataset(name) for name in run.evaluated()},
        "classifiers": {name: classifier(run, name) for name in names},
    }
    return json.loads(json.dumps(found, default=str))


def classifier(run: Run, name: str) -> dict[str, Any]:
    """One of them. `temperature`: what its temperature is fitted on, where it has one."""
    datasets = [dataset for dataset, evaluated in run.pairs if evaluated == name]
    datasets.sort(key=lambda dataset: dataset in run.shifted)  # those without a shift first
    entry = run.config.classifiers[name]
    found: dict[str, Any] = {"datasets": datasets, "calibrate": entry.calibrate, "temperature": None}
    if entry.calibrate and not run.is_open(name):
        stage = run.calibrating_stage(name)
        found["temperature"] = {
            "manifest": run.manifest(entry.calibrate),
            "scores": run.scores(entry.calibrate, stage),
            "combine": stage.combine,
        }
    return found | (rival(run, name) if name in run.config.rivals else own(run, name))


def own(run: Run, name: str) -> dict[str, Any]:
    """What a classifier of a VAR has: weights, noise, and the stages or the thresholds."""
    stages, model, sigma = run.funnels[name], run.config.own[name].model, run.config.own[name].given().get("sigma")
    first = stages[0]
    found = {
        "kind": "var",
        "model": model,
        "weights": {part: run.checkpoints.weights(model, part) for part in ("vqvae", "var")},
        "checkpoints": {part: run.checkpoints.checkpoint(model, part) for part in ("vqvae", "var")},
        "sigma": sigma,
        "scale_weights": run.scale_weights(first) or None,
    }
    if isinstance(first, AdaptiveScaleStage):
        told = {"samples": first.samples, "precision": first.precision, "thresholds": run.thresholds(first)}
        return found | {"adaptive": told}
    if certified := run.certified(name):
        told = {"scales": certified.scales, "precision": certified.quick.precision, "delta": run.delta(certified)}
        return found | {"certified": told}
    keys = ("scales", "samples", "keep", "precision", "guidance")
    fixed = [{key: getattr(stage, key) for key in keys} for stage in stages if isinstance(stage, ScaleStage)]
    return found | {"stages": fixed}


def rival(run: Run, name: str) -> dict[str, Any]:
    """What a rival has: its baseline, weights, and stages."""
    baseline = run.baseline_of(name)
    found = {
        "kind": "rival",
        "baseline": run.checkpoints.baseline(baseline),
        "weights": run.checkpoints.baseline_weights(baseline),
        "public_sha256": run.checkpoints.public_sha256(baseline),
    }
    first = run.funnels[name][0]
    if isinstance(first, AdaptiveRivalStage):
        return found | {"adaptive": {"scoring": first.scoring, "thresholds": run.thresholds(first)}}
    stages = [stage for stage in run.funnels[name] if isinstance(stage, RivalStage)]
    return found | {"stages": [{"scoring": stage.scoring, "keep": stage.keep} for stage in stages]}
