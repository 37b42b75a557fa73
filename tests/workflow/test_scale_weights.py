"""Weights of the scales from the config to predictions: in every stage, in thresholds and temperatures."""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from configs import DIGITS, read
from job_graph import jobs, rerun, run_missing
from snakemake_runs import write_config

from varc.scoring.adaptive import read_adaptive, simulate
from varc.scoring.labelled import read_labelled_scores
from varc.scoring.scale_weights import fit_scale_weights, prefix_weights
from varc.seal import read_json, write_json
from workflow.config.entry import ConfigError
from workflow.jobs import Jobs
from workflow.plan import Plan
from workflow.run import Run
from workflow.tables import Tables

FIT = {"scale_weights": {"fit": "early"}}
STAGE = {"scales": 4, "keep": 1}
NOISE = {"sigma": {"spread": 0.2}}
FUNNEL = [{"scales": 2, "keep": 5}, {"scales": 4, "keep": 3}, {"scales": 4, "samples": 2, "keep": 1}]
CLASSIFIERS = {
    "varc": {"model": "base", "funnel": [STAGE]},
    "weighted": {"model": "base", "calibrate": "known", **FIT, "funnel": [STAGE]},
    "smoothed": {"model": "base", **NOISE, **FIT, "funnel": [STAGE | {"samples": 2}]},
    "funnel": {"model": "base", **NOISE, **FIT, "funnel": FUNNEL},
    "plain": {"model": "base", **NOISE, "funnel": FUNNEL},
    "adaptive": {"model": "base", "calibrate": "known", **NOISE, **FIT}
    | {"funnel": [{"adaptive": {"alpha": 0.1, "samples": 2}}]},
}


def config_of(**changed):
    config = copy.deepcopy(DIGITS) | {"classifiers": copy.deepcopy(CLASSIFIERS), "shards": 2, "ablation": "varc"}
    config["datasets"] |= {
        "early": {"reader": "digits", "split": "validation"},
        "known": {"reader": "digits", "split": "calibration"},
    }
    train = config["models"]["base"]["train"]
    train["vqvae"]["steps"], train["var"]["steps"], train["var"]["samples"] = 60, 60, 1
    config["evaluate"] = [{"datasets": ["digits"], "classifiers": list(config["classifiers"])}]
    for key in ("smoothing", "published"):
        config.pop(key, None)
    return config | changed


def run_of(config=None, shards=1):
    return Run(read(config or config_of()), shards, lambda file: None)


def test_weights_are_in_the_names_of_what_they_choose_and_not_of_scores():
    run = run_of()
    first, second, third = run.funnels["funnel"]
    assert first.folders("d") == run.funnels["plain"][0].folders("d") == ["scores/base/d/all/scales2/clean"]
    assert second.candidates == first.kept == "2x1w-early-keep5"
    assert third.candidates == "2x1w-early-keep5.4x1w-early-keep3"
    assert third.kept.endswith(".4x2s0.2spreadw-early-keep1")
    assert third.folders("d")[0] == "scores/base/d/2x1w-early-keep5/scales4/clean"
    (adaptive,) = run.funnels["adaptive"]
    assert adaptive.folders("d") == ["scores/base/d/all/adaptive0.1x2s0.2spreadw-early-known"]
    for name in ("funnel", "smoothed"):
        inputs = Jobs(run).predict_inputs(name, "digits")
        assert inputs["scale_weights"] == "results/digits/scale_weights/base/early.json"
    assert Jobs(run).predict_inputs("plain", "digits")["scale_weights"] == []
    assert (
        Jobs(run).predict_inputs("smoothed", "digits")["stage1"][0] == run.scores("digits", run.funnels["varc"][0])[0]
    )


def test_what_weights_are_fitted_on_is_planned():
    works = {(work.dataset, work.classifier, work.folder) for work in Plan(run_of()).works if work.rule == "score"}
    assert ("early", "(tables)", "scores/base/early/all/scales4/clean") in works
    assert "results/digits/tables/scale_weights.csv" in Tables(run_of()).targets()
    without = copy.deepcopy(CLASSIFIERS)
    for entry in without.values():
        entry.pop("scale_weights", None)
    run = run_of(config_of(classifiers=without))
    assert run.fits() == [] and not any(work.dataset == "early" for work in Plan(run).works)
    assert "results/digits/tables/scale_weights.csv" not in Tables(run).targets()


def test_an_adaptive_funnel_is_compared_with_a_fixed_one_of_its_weights():
    assert Tables(run_of()).reference("digits", "adaptive") == "funnel"
    config = config_of()
    config["classifiers"]["adaptive"].pop("scale_weights")
    assert Tables(run_of(config)).reference("digits", "adaptive") == "plain"


def test_other_images_to_fit_on_rerun_what_is_chosen_by_them_alone(tmp_path):
    config, other = config_of(), config_of()
    other["datasets"]["earlier"] = {"reader": "digits", "split": "validation", "per_class": 9}
    config["datasets"]["earlier"] = other["datasets"]["earlier"]
    for name in ("weighted", "smoothed", "funnel"):
        other["classifiers"][name]["scale_weights"] = {"fit": "earlier"}
    found = rerun(jobs(tmp_path, config), jobs(tmp_path, other))
    shards = 2
    assert found["fit_scale_weights"] == 1 and found["prune"] == 2 * shards and found["predict"] == 3
    assert found["score"] == 2 * shards + shards  # of candidates, clean and noisy; of the images to fit on
    assert found["score_adaptive"] == found["train_var"] == found["finetune"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: c["classifiers"]["weighted"].update(scale_weights={"fit": "nowhere"}),
            "classifiers: weighted: scale_weights: fit: 'nowhere' is not defined",
        ),
        (
            lambda c: c["classifiers"]["weighted"].update(scale_weights={"fit": "digits"}),
            "evaluate: 0: datasets: digits, but classifiers: weighted: scale_weights: fit is digits; fit on images",
        ),
        (
            lambda c: c["classifiers"]["weighted"].update(scale_weights={"fit": "digits_train"}),
            "models: base: train: data: digits_train, but classifiers: weighted: scale_weights: fit is digits_train",
        ),
        (
            lambda c: c["classifiers"]["funnel"].update(scale_weights={"fit": "known"}),
            "classifiers: funnel: scale_weights: fit: known, but classifiers: adaptive: calibrate is known;",
        ),
        (
            lambda c: c["datasets"].update(early={"reader": "digits", "split": "calibration", "per_class": 5}),
            "scale_weights: fit: early, but classifiers: adaptive: calibrate is known, which shares images with early",
        ),
        (
            lambda c: c.update(shifts=[{"dataset": "early", "classifiers": ["varc"], "names": ["blur"]}
                                       | {"severities": [1]}]),
            "shifts: 0: dataset: early, but classifiers: adaptive: scale_weights: fit is early",
        ),
        (
            lambda c: c["classifiers"].update(guided={"model": "base", **FIT, "funnel": [STAGE | {"guidance": 1.0}]}),
            "classifiers: guided: scale_weights does not go with funnel: 0: guidance",
        ),
        (
            lambda c: c["classifiers"].update(rival={"baseline": "memory", **FIT}),
            "classifiers: rival: scale_weights is no key of a classifier with a baseline",
        ),
        (lambda c: c["classifiers"]["varc"].update(FIT), "ablation: varc has scale_weights; name a classifier that"),
        (
            lambda c: c["classifiers"]["weighted"].update(scale_weights=[1, 1, 1, 1]),
            "classifiers: weighted: scale_weights: [1, 1, 1, 1] is no table; scale_weights has the keys fit",
        ),
        (
            lambda c: c.update(incremental=[{"classifier": "cca", "data": "digits_train", "test": "digits"}
                                            | {"tasks": [2], "seeds": 1, "strategies": ["none"]}])
            or c["classifiers"].update(cca={"model": "cca", **FIT, "funnel": [STAGE]}),
            "incremental: 0: classifier: cca has scale_weights, of a model that has learned all",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(change, words):
    config = config_of()
    change(config)
    with pytest.raises(ConfigError) as error:
        read(config)
    assert words in str(error.value)


def test_a_models_validation_images_may_be_fitted_on():
    """They are chosen on, and neither learned nor evaluated."""
    models = yaml.safe_load(yaml.safe_dump(DIGITS["models"]))
    models["cca"]["cca"]["validate"] = "early"
    read(config_of(models=models))


# a run


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All predictions, and the tables that weights are in."""
    folder = tmp_path_factory.mktemp("weights")
    config = folder / write_config(folder, config_of())
    for name in (*(f"predictions/{c}/digits.parquet" for c in CLASSIFIERS), "tables/scale_weights.csv",
                 "tables/calibration.csv", "tables/adaptive.csv", "tables/ablation.csv"):  # fmt: skip
        run_missing(config, folder, f"results/digits/{name}")
    return folder / "results/digits"


def labelled(results, dataset, *noises):
    noises = noises or ("clean",)
    files = [results / f"scores/base/{dataset}/all/scales4/{noise}/{i}.parquet" for noise in noises for i in (0, 1)]
    return [
        read_labelled_scores(results / f"datasets/{dataset}.parquet", [f for f in files if n in f.parts])
        for n in noises
    ]


def predicted(results, name):
    return pd.read_parquet(results / f"predictions/{name}/digits.parquet")


def weights_of(results, scales=4):
    return prefix_weights(np.array(read_json(results / "scale_weights/base/early.json")["weights"]), scales)


def test_weights_are_those_of_the_fit_and_in_the_table(results):
    (known,) = labelled(results, "early")
    expected = fit_scale_weights(known.per_scale, known.own)
    table = pd.read_csv(results / "tables/scale_weights.csv")
    assert table["weight"].to_numpy() == pytest.approx(prefix_weights(expected.weights, 4), rel=1e-6)
    assert table["k"].tolist() == [1, 2, 3, 4] and (table["images"] == len(known.labels)).all()
    assert (table["nll"] < table["nll_temperature"]).all() and (table["nll_temperature"] < table["nll_equal"]).all()
    assert set(table["model"]) == {"base"} and set(table["dataset"]) == {"early"}
    assert np.std(table["weight"]) > 0.05


def test_predictions_are_by_weighted_scores_of_all_samples(results):
    samples = labelled(results, "digits", "clean", "sigma0.2spread-1")
    weighted = [(sample.per_scale * weights_of(results)).sum(-1) for sample in samples]
    for name, scores in (("weighted", weighted[0]), ("smoothed", np.mean(weighted, axis=0))):
        found = predicted(results, name)
        assert (found["prediction"] == samples[0].class_ids[scores.argmax(1)]).all()
        assert np.allclose(found["score"], scores.max(1))
    assert (predicted(results, "weighted")["prediction"] != predicted(results, "varc")["prediction"]).any()


def test_each_stage_keeps_the_best_by_the_weights_of_its_scales(results):
    (known,) = labelled(results, "digits")
    scores = (known.per_scale[..., :2] * weights_of(results, 2)).sum(-1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    kept = [pd.read_parquet(results / f"candidates/base/digits/2x1w-early-keep5/{i}.parquet") for i in (0, 1)]
    kept = pd.concat(kept)
    assert (kept["class_id"].to_numpy().reshape(-1, 5) == known.class_ids[best]).all()
    assert np.allclose(kept["score"].to_numpy().reshape(-1, 5), np.take_along_axis(scores, best, 1), rtol=1e-5)
    assert (predicted(results, "funnel")["prediction"] != predicted(results, "plain")["prediction"]).any()


def test_the_adaptive_funnel_stops_by_weighted_scores(results):
    clean, noisy = labelled(results, "digits", "clean", "sigma0.2spread-1")
    weights, name = weights_of(results), "adaptive0.1x2s0.2spreadw-early-known"
    thresholds = read_json(results / f"thresholds/base/known/{name}.json")["thresholds"]
    expected = simulate(
        clean.per_scale * weights, (noisy.per_scale * weights).sum(-1)[None], np.array(thresholds, float)
    )
    found, _, _ = read_adaptive(*[results / f"scores/base/digits/all/{name}/{i}.parquet" for i in (0, 1)])
    assert (found.steps == expected.steps).all() and (found.samples == expected.samples).all()
    assert np.abs(found.log_likelihood - expected.log_likelihood).max() < 1e-3
    assert 0 < (found.steps < 4).mean() < 1
    table = pd.read_csv(results / "tables/adaptive.csv").query("configured").iloc[0]
    right = predicted(results, "adaptive").eval("prediction == label")
    assert table["top1"] == pytest.approx(right.mean())


def test_tables_are_of_weighted_scores(results):
    clean, known = (labelled(results, name)[0] for name in ("digits", "known"))
    scores = (clean.per_scale * weights_of(results)).sum(-1)
    row = pd.read_csv(results / "tables/calibration.csv").set_index("classifier").loc["weighted"]
    z = scores - scores.max(1, keepdims=True)
    log_p = (z - np.log(np.exp(z).sum(1, keepdims=True)))[clean.own]
    assert row["nll_before"] == pytest.approx(-log_p.mean()) and row["calibration_images"] == len(known.labels)
    ablation = pd.read_csv(results / "tables/ablation.csv").set_index("classifier")
    assert ablation["scale_weights"].fillna("").to_dict() == {"varc": "", "weighted": "early", "smoothed": "early"}
    for name in ("weighted", "smoothed"):
        right = predicted(results, name).eval("prediction == label")
        assert ablation.loc[name, "top1"] == pytest.approx(right.mean())


def test_equal_weights_predict_as_none_to_the_bit(results, tmp_path):
    """The same run, with weights that are all the same in the place of the fitted ones."""
    folder = results.parents[1]
    config = folder / write_config(folder, config_of(), "again.yaml")
    note = results / "scale_weights/base/early.json"
    fitted, made = read_json(note), [*results.rglob("*w-early*"), results / "predictions"]
    for path in made:  # kept elsewhere
        target = tmp_path / "fitted" / path.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.rename(target)
    previous = Path.cwd()
    try:
        write_json(note, fitted | {"weights": [0.3] * 4})
        for name in ("weighted", "varc", "funnel", "plain"):
            run_missing(config, folder, f"results/digits/predictions/{name}/digits.parquet")
        assert predicted(results, "weighted").equals(predicted(results, "varc"))
        assert predicted(results, "funnel").equals(predicted(results, "plain"))
    finally:
        assert Path.cwd() == previous
        write_json(note, fitted)
