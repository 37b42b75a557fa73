"""Stages and runs: how a funnel's files are called, what is read again, and that two computations share no folder."""

import copy
import re

import pytest
from configs import DIGITS, read

from varc.costs.counting import Cost, ModelCosts
from varc.metrics.tables import gflops_rows
from workflow.config.entry import ConfigError, Spread
from workflow.config.lineage import architecture, finetuning, image_size, origin, patch_nums, vqvae_owner
from workflow.jobs import Jobs
from workflow.run import Run
from workflow.stages import AdaptiveScaleStage, ScaleStage, spell_noises, spell_sigma
from workflow.tables import Tables

FUNNEL = [
    {"scales": 3, "samples": 1, "keep": 5, "precision": "bf16"},
    {"scales": 4, "samples": 1, "keep": 3},
    {"scales": 4, "samples": 3, "keep": 1},
]


def run_of(classifiers, shards=1, **changed):
    """The run of the digits' config with other classifiers, all evaluated on the test images."""
    config = copy.deepcopy(DIGITS) | {"classifiers": classifiers, **changed}
    calibration = {"reader": "digits", "split": "calibration"}
    config["datasets"] |= {"digits_calibration": calibration, "digits_calibration_few": {**calibration, "per_class": 9}}
    config["evaluate"] = [{"datasets": ["digits"], "classifiers": list(classifiers)}]
    config.pop("ablation", None)
    return Run(read(config), shards, lambda file: None)


@pytest.mark.parametrize(
    ("sigma", "spelled"),
    [(0.1, "0.1"), (0.10, "0.1"), (1, "1"), (1e-3, "0.001"), (Spread(spread=0.2), "0.2spread"), (None, "")],
)
def test_sigma_and_noises(sigma, spelled):
    assert spell_sigma(sigma) == spelled
    assert spell_noises(spelled, 3) == ["clean", f"sigma{spelled}-1", f"sigma{spelled}-2"]


def test_candidates_are_spelled_by_what_chose_them_and_a_smoothed_stage_reads_its_clean_scores_again():
    run = run_of({"a": {"model": "base", "sigma": {"spread": 0.2}, "funnel": FUNNEL}})
    first, second, third = run.funnels["a"]
    assert (first.candidates, second.candidates) == ("all", "3x1-bf16-keep5")
    assert third.candidates == "3x1-bf16-keep5.4x1-keep3" == second.kept
    assert third.kept == "3x1-bf16-keep5.4x1-keep3.4x3s0.2spread-keep1"
    assert first.folders("d") == ["scores/base/d/all/scales3-bf16/clean"]
    assert third.folders("d") == [
        "scores/base/d/3x1-bf16-keep5/scales4/clean",
        "scores/base/d/3x1-bf16-keep5.4x1-keep3/scales4/sigma0.2spread-1",
        "scores/base/d/3x1-bf16-keep5.4x1-keep3/scales4/sigma0.2spread-2",
    ]
    assert [stage.reused for stage in run.funnels["a"]] == [0, 0, 1]


def test_scores_of_another_precision_are_not_read_again():
    funnel = [{"scales": 4, "keep": 3, "precision": "bf16"}, {"scales": 4, "samples": 2, "keep": 1}]
    _, second = run_of({"a": {"model": "base", "sigma": 0.1, "funnel": funnel}}).funnels["a"]
    assert second.reused == 0 and second.folders("d")[0] == "scores/base/d/4x1-bf16-keep3/scales4/clean"


def test_costs_count_what_is_run():
    """10 classes in bf16, then 3 of them in float32 with two samples: 10 + 6 passes, none of them read again."""
    funnel = [{"scales": 4, "keep": 3, "precision": "bf16"}, {"scales": 4, "samples": 2, "keep": 1}]
    plain = [{"scales": 4, "keep": 3}, *funnel[1:]]
    run = run_of({n: {"model": "base", "sigma": 0.1, "funnel": f} for n, f in (("bf16", funnel), ("plain", plain))})
    one_pass = ModelCosts(Cost(0.0, 0.0), {4: Cost(1.0, 0.0)})
    for name, computed in (("bf16", [10, 6]), ("plain", [10, 3])):
        rows = gflops_rows("digits", 10, name, Tables(run).funnel("digits", name), (1, 2, 3, 4), one_pass)
        assert [row["gflops_computed"] for row in rows[1:-1]] == computed
        stages = run.funnels[name]
        made = [10 * len(stages[0].folders("d")), 3 * len(set(stages[1].folders("d")) - set(stages[0].folders("d")))]
        assert made == computed  # as many folders of scores


def test_a_classifier_is_calibrated_by_the_scores_that_it_predicts_with():
    stage = {"scales": 4, "keep": 1, "precision": "bf16"}
    run = run_of({"a": {"model": "base", "calibrate": "digits_calibration", "funnel": [stage]}})
    files = Tables(run).calibration_inputs()
    assert files["calibration_scores0"] == [
        "results/digits/scores/base/digits_calibration/all/scales4-bf16/clean/0.parquet"
    ]
    assert files["test_scores0"] == Jobs(run).predict_inputs("a", "digits")["stage1"]
    assert ("base", "digits_calibration", "all", "scales4") not in run.scored  # nothing else is scored for it


def test_guided_adaptive_and_rival_stages():
    rival = {"baseline": "memory", "stages": [{"k": 5, "keep": 3}, {"k": 9}]}
    memory = {"family": "knn", "shape": {"image_size": 8, "memory": 9}, "train": {"data": "digits_train"}}
    adaptive = {"model": "base", "calibrate": "digits_calibration", "sigma": 0.1}
    run = run_of(
        {
            "guided": {"model": "base", "funnel": [{"scales": 4, "keep": 1, "guidance": 0.50}]},
            "adaptive": adaptive | {"funnel": [{"adaptive": {"alpha": 0.050, "samples": 3}}]},
            "rival": rival,
        },
        baselines={"memory": memory},
    )
    (guided,), (found,), (first, second) = (run.funnels[name] for name in ("guided", "adaptive", "rival"))
    assert guided.folders("d") == ["scores/base/d/all/scales4-cfg0.5/clean"] and guided.passes(10) == 11
    assert found.folders("d") == ["scores/base/d/all/adaptive0.05x3s0.1-digits_calibration"] and found.passes(10) == 30
    assert found.noises == ["clean", "sigma0.1-1", "sigma0.1-2"]
    assert (first.folders("d"), second.folders("d")) == (["scores/memory/d/all/k5"], ["scores/memory/d/k5-keep3/k9"])
    assert second.scorings == [{"k": 5}, {"k": 9}] and second.noises == []


CALIBRATED = {
    name: {"model": "base", "funnel": [{"adaptive": {"alpha": 0.05}}], "calibrate": name}
    for name in ("digits_calibration", "digits_calibration_few")
}


def test_adaptive_stages_of_other_calibration_images_have_their_own_files():
    run = run_of(CALIBRATED)
    jobs = Jobs(run)
    for name in CALIBRATED:
        (stage,) = run.funnels[name]
        inputs = jobs.score_adaptive_inputs("base", "digits", stage.name, "0")
        assert inputs["thresholds"] == f"results/digits/thresholds/base/{name}/adaptive0.05-{name}.json"
        assert inputs["calibration"] == f"results/digits/datasets/{name}.parquet"
        calibrating = jobs.calibrate_inputs("base", name, stage.name)
        assert calibrating["manifest"] == inputs["calibration"]
        assert jobs.predict_inputs(name, "digits")["stage1"] == run.scores("digits", stage)
    assert len({run.scores("digits", run.funnels[name][0])[0] for name in CALIBRATED}) == 2


def test_images_of_another_folder_are_others_though_their_ids_are_equal():
    """Which the job that scores an adaptive stage looks at otherwise, and refuses."""
    same = {"reader": "parquet", "root": "data/test", "classes": "c.csv", "size": 8, "files": "a-*"}
    datasets = {
        "digits": same,
        "linked": {**same, "root": "data/../data/test", "files": "b-*"},
        "elsewhere": {**same, "root": "data/calibration"},
    }
    funnel = [{"adaptive": {"alpha": 0.05}}]
    classifiers = {name: {"model": "base", "funnel": funnel, "calibrate": name} for name in ("linked", "elsewhere")}
    run = run_of(classifiers, datasets=DIGITS["datasets"] | datasets)
    inputs = {
        name: Jobs(run).score_adaptive_inputs("base", "digits", run.funnels[name][0].name, "0") for name in classifiers
    }
    assert inputs["linked"]["calibration"] == "results/digits/datasets/linked.parquet"
    assert inputs["elsewhere"]["calibration"] == []


def test_two_computations_with_one_folder_are_refused(monkeypatch):
    monkeypatch.setattr(AdaptiveScaleStage, "name", "adaptive")
    with pytest.raises(ConfigError, match=r"two stages have one folder, scores/base/digits/all/adaptive, made by"):
        run_of(CALIBRATED)
    one = CALIBRATED["digits_calibration_few"]
    run_of({"one": one, "same": one})  # one computation, shared


def test_classifiers_share_the_stages_on_which_they_agree():
    shorter = [*FUNNEL[:2], {"scales": 4, "samples": 2, "keep": 1}]
    funnels = {"a": FUNNEL, "b": shorter}
    run = run_of({name: {"model": "base", "sigma": 0.1, "funnel": f} for name, f in funnels.items()}, shards=2)
    jobs = Jobs(run)
    a, b = (jobs.predict_inputs(name, "digits") for name in ("a", "b"))
    assert a["stage1"] == b["stage1"] and a["stage2"] == b["stage2"]
    assert a["stage3"][:4] == b["stage3"] and len(a["stage3"]) == 6  # samples, and of each two shards


def test_every_file_that_is_asked_for_has_its_stage_and_what_it_reads():
    """Forward and back again: the wildcards of every score file lead to the stage that it is a file of."""
    run = run_of({"a": {"model": "base", "sigma": 0.1, "funnel": FUNNEL}})
    jobs = Jobs(run)
    for key, stage in run.scored.items():
        assert stage.folder(key[1]) == "scores/" + "/".join(key)
        assert jobs.stage_settings(*key) == {"scales": stage.scales, "precision": stage.precision, "guidance": None}
        inputs = jobs.score_inputs(key[0], key[1], key[2], "sigma0.1-1", "0")
        assert inputs["tokens"] == "results/digits/tokens/base/digits/sigma0.1-1/0.parquet"
        chosen = inputs["candidates"]
        assert chosen == ([] if key[2] == "all" else f"results/digits/candidates/base/digits/{key[2]}/0.parquet")
        if chosen:  # and those candidates are kept by a stage that scored them
            before = run.pruned["base", "digits", key[2]]
            assert before.keep == jobs.keep("base", "digits", key[2]) == stage.before[-1].keep
            assert jobs.prune_inputs("base", "digits", key[2], "0")["scores"][0].startswith(
                "results/digits/scores/base/"
            )


def test_noises_tell_sigma_and_sample():
    run = run_of({"a": {"model": "base", "sigma": 0.1, "funnel": FUNNEL}})
    assert run.noises["clean"] == (0.0, 0) and run.noises["sigma0.1-2"] == (0.1, 2)
    assert run.noises["sigma0.2spread-3"] == ({"spread": 0.2}, 3)  # of the training tokens
    assert "sigma0.1-3" not in run.noises


def test_a_public_vqvae_is_named_by_its_file_and_content():
    files = {"a b/vae.v2.pth": "0123456789abcdef", "var.pth": "x"}
    models = copy.deepcopy(DIGITS["models"]) | {"public": {"vqvae": "a b/vae.v2.pth", "var": "var.pth"}}
    config = read(copy.deepcopy(DIGITS) | {"models": models})
    assert Run(config, 1, files.get).checkpoints.vqvae_of("public") == "vae_v2-01234567"
    assert Run(config, 1, {}.get).checkpoints.vqvae_of("public") == "vae_v2-absent"
    assert Run(config, 1, {}.get).checkpoints.vqvae_of("cca") == "base"


def test_two_models_that_read_one_vqvae_otherwise_are_refused():
    public = {"vqvae": "vae.pth", "var": "var.pth"}
    models = copy.deepcopy(DIGITS["models"]) | {"one": public, "two": public | {"norm_groups": 16}}
    stage = {"scales": 10, "keep": 1}
    run = run_of({name: {"model": name, "funnel": [stage]} for name in ("one", "two")}, models=models)
    with pytest.raises(ConfigError, match="models: one and two read one VQ-VAE with other settings"):
        run.checkpoints.vqvaes  # noqa: B018


def models():
    """Models that come from each other in every way."""
    vqvae = DIGITS["models"]["base"]["train"]["vqvae"] | {"patch_nums": [1, 4]}
    var = DIGITS["models"]["base"]["train"]["var"] | {"samples": 3, "sigma": 0.5}
    steps = {"steps": 1, "batch_size": 1, "lr": 0.1}
    config = copy.deepcopy(DIGITS)
    config["models"] = {
        "base": {"train": {"data": "digits_train", "vqvae": vqvae, "var": var}},
        "cca": {"finetune": "base", "cca": {"beta": 1, "lambda": 1, **steps}},
        "more": {"finetune": "cca", "cross_entropy": {"data": "digits_validation", "samples": 1, **steps}},
        "clean": {"train": {"data": "digits_train", "vqvae": "base", "var": var | {"depth": 5}}},
        "d16": {"vqvae": "v.pth", "var": "d16.pth", "architecture": "var_d16"},
        "d16_cca": {"finetune": "d16", "cca": {"beta": 1, "lambda": 1, "data": "pictures", **steps}},
    }
    config["datasets"]["digits_train"]["size"] = config["datasets"]["digits_validation"]["size"] = 8
    config["datasets"]["pictures"] = {"reader": "image_folder", "root": "x", "classes": "x.csv", "size": 256}
    config["classifiers"] = {"varc": {"model": "base", "funnel": [{"scales": 2, "keep": 1}]}}
    config["evaluate"] = [{"datasets": ["digits"], "classifiers": ["varc"]}]
    return read(config).models


def test_what_a_model_comes_from():
    found = models()
    names = ["base", "cca", "more", "clean", "d16", "d16_cca"]
    assert [origin(found, name) for name in names] == ["base", "base", "base", "clean", "d16", "d16"]
    assert [vqvae_owner(found, name) for name in names] == ["base", "base", "base", "base", "d16", "d16"]
    assert architecture(found, "more") == architecture(found, "base")
    assert architecture(found, "clean")["var"]["depth"] == 5
    assert architecture(found, "clean")["vqvae"] == architecture(found, "base")["vqvae"]
    assert patch_nums(found, "clean") == [1, 4] and image_size(found, "more") == 8
    assert image_size(found, "d16_cca") == 256


def test_fine_tuning_takes_its_data_from_the_models_training():
    def told(name):
        return {key: finetuning(models(), name).get(key) for key in ("data", "samples", "sigma")}

    assert told("cca") == {"data": "digits_train", "samples": 3, "sigma": 0.5}
    assert told("more") == {"data": "digits_validation", "samples": 1, "sigma": None}
    assert told("d16_cca") == {"data": "pictures", "samples": 1, "sigma": None}


def test_a_full_stage_spells_its_sigma_only_where_it_smooths():
    run = run_of({"a": {"model": "base", "sigma": 0.1, "funnel": FUNNEL}})
    assert run.full_stage("base", "0.1", 1) == ScaleStage("base", (), 1, 4)
    assert re.fullmatch(r"scores/base/d/all/scales4/sigma0\.1-1", run.full_stage("base", "0.1", 2).folders("d")[1])
