"""`precision` from the config to every file whose making runs the transformer."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from configs import DIGITS, begun, read
from job_graph import run_missing
from snakemake_runs import write_config

import varc
from varc.explain import judges
from varc.scoring.adaptive import read_adaptive
from varc.scoring.certified import certified_delta, open_contenders
from varc.scoring.funnel import read_per_scale
from varc.seal import read_json, write_json
from varc.storage import provenance, read_parquet
from workflow.classifiers import record
from workflow.config.entry import ConfigError
from workflow.jobs import Jobs
from workflow.run import Run
from workflow.tables import Tables

BF16 = {"precision": "bf16"}
STAGE = {"scales": 4, "keep": 1}
ADAPTIVE = {"model": "base", "calibrate": "known", "funnel": [{"adaptive": {"alpha": 0.1}}]}
CLASSIFIERS = {
    "varc": {"model": "base", "funnel": [STAGE]},
    "half": {"model": "base", "funnel": [STAGE | BF16]},
    "guided": {"model": "base", "funnel": [STAGE | BF16 | {"guidance": 0.5}]},
    "guided_exactly": {"model": "base", "funnel": [STAGE | {"guidance": 0.5}]},
    "adaptive": {**ADAPTIVE, "funnel": [{"adaptive": {"alpha": 0.1}, **BF16}]},
    "adaptive_exactly": ADAPTIVE,
    "certified_short": {**ADAPTIVE, "funnel": [{"scales": 2, **BF16, "certify": {"alpha": 0.006}}]},
    "short": {"model": "base", "funnel": [{"scales": 2, "keep": 1}]},
    "certified": {**ADAPTIVE, "funnel": [{"scales": 4, **BF16, "certify": {"alpha": 0.006}}]},
}
EXPLAIN = {"datasets": ["digits"], "models": ["base"], "target": "label", "against": "unconditional", "images": 3}
TMI = EXPLAIN | {"methods": ["tmi"]}
JUDGED = EXPLAIN | {"methods": ["occlusion"], "faithfulness": {"steps": 2, "judges": ["cnn"]}, **BF16}


def config_of(**changed):
    config = copy.deepcopy(DIGITS) | {"classifiers": copy.deepcopy(CLASSIFIERS)}
    config["datasets"] |= {
        "digits": {"reader": "digits", "split": "test", "per_class": 8},
        "known": {"reader": "digits", "split": "calibration"},
    }
    train = config["models"]["base"]["train"]
    train["vqvae"]["steps"], train["var"]["steps"], train["var"]["samples"] = 60, 60, 1
    config["evaluate"] = [{"datasets": ["digits"], "classifiers": list(config["classifiers"])}]
    config["judges"] = {"cnn": {"data": "digits_train", "steps": 20, "lr": 0.002, **BF16}}
    config["explain"] = [TMI, TMI | BF16, JUDGED]
    for key in ("smoothing", "published", "ablation"):
        config.pop(key, None)
    return config | changed


def test_paths_name_the_precision():
    run = Run(read(config_of()), 1, lambda file: None)
    folder = {name: run.funnels[name][0].folders("d")[0] for name in CLASSIFIERS}
    assert folder["half"] == "scores/base/d/all/scales4-bf16/clean"
    assert folder["guided"] == "scores/base/d/all/scales4-bf16-cfg0.5/clean"
    assert folder["adaptive"] == "scores/base/d/all/adaptive0.1-bf16-known"
    assert run.funnels["certified"][0].folders("d") == [folder["half"]]
    assert run.funnels["certified"][1].folders("d") == ["scores/base/d/all/scales4-bf16-certify0.006-known"]
    assert folder["adaptive_exactly"] == "scores/base/d/all/adaptive0.1-known"
    maps = [key.method for key in begun(config_of()).explaining.maps]
    assert maps == ["tmi", "tmi-bf16", "occlusion-bf16"]


def test_an_adaptive_funnel_is_calibrated_and_judged_by_scores_of_its_precision():
    run = Run(read(config_of()), 1, lambda file: None)
    found = Jobs(run).calibrate_inputs("base", "known", "adaptive0.1-bf16-known")
    assert found["scores"] == ["results/digits/scores/base/known/all/scales4-bf16/clean/0.parquet"]
    files = Tables(run).calibration_files(0, "digits", "adaptive")
    assert files["test_scores0"] == ["results/digits/scores/base/digits/all/scales4-bf16/clean/0.parquet"]
    exact = Jobs(run).calibrate_inputs("base", "known", "adaptive0.1-known")
    assert exact["scores"] == ["results/digits/scores/base/known/all/scales4/clean/0.parquet"]


def certified(calibrate="known", **changed):
    """A certified stage with other keys."""
    stage = {"scales": 4, **BF16, "certify": {"alpha": 0.006}, **changed}
    entry = {"model": "base", "funnel": [stage], **({"calibrate": calibrate} if calibrate else {})}
    return {"classifiers": {**CLASSIFIERS, "certified": entry}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"explain": [TMI | BF16, TMI | BF16]}, "explain: 1: tmi of base on digits, label against uncond"),
        ({"explain": [TMI | BF16 | {"gallery": 2}]}, "explain: 0: precision bf16 does not go with gallery"),
        ({"explain": [TMI | {"precision": "half"}]}, "precision: 'half' should be 'float32', 'tf32' or 'bf16'"),
        (certified(scales=5), "classifiers: certified: funnel: 0: scales is 5, but model base has 4"),
        (certified(precision="float32"), "funnel: 0: precision: 'float32' should be 'tf32' or 'bf16'"),
        (certified(certify={"alpha": 0}), "funnel: 0: certify: alpha: 0 should be greater than 0"),
        (certified(keep=1), "certified: funnel: 0: keep is no key of a certified stage"),
        (certified(calibrate=None), "certified: calibrate is missing; a certified funnel takes its delta"),
        ({"ablation": "half"}, "ablation: half must score in float32 and without guidance"),
        ({"judges": {"cnn": {"data": "digits", "steps": 1, "lr": 1, "precision": "x"}}}, "judges: cnn: precision: 'x'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(ConfigError) as error:
        begun(config_of(**change))
    assert words in str(error.value)


# a run; where a processor has no bfloat16 torch rounds the numbers all the same


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
        patch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
        folder = tmp_path_factory.mktemp("precision")
        config = folder / write_config(folder, config_of())
        below = "base/digits"
        names = [f"predictions/{name}/digits.parquet" for name in CLASSIFIERS]
        names += ["tables/certified.csv", "tables/gflops.csv", "tables/cost.csv"]
        names += [f"maps/{below}/{m}/label-vs-unconditional/0.parquet" for m in ("tmi", "tmi-bf16", "occlusion-bf16")]
        names += [f"curves/{below}/occlusion-bf16/label-vs-unconditional/{j}/0.parquet" for j in ("varc", "cnn")]
        for name in names:
            run_missing(config, folder, f"results/digits/{name}")
    return folder / "results/digits"


def test_every_file_says_in_which_precision_it_was_made(results):
    made = {
        "scores/base/digits/all/scales4/clean/0.parquet": "float32",
        "scores/base/digits/all/scales4-bf16/clean/0.parquet": "bf16",
        "scores/base/digits/all/scales4-bf16-cfg0.5/clean/0.parquet": "bf16",
        "scores/base/digits/all/adaptive0.1-bf16-known/0.parquet": "bf16",
        "scores/base/digits/all/adaptive0.1-known/0.parquet": "float32",
        "scores/base/known/all/scales4-bf16/clean/0.parquet": "bf16",
        "token_scores/base/digits/label/clean/0.parquet": "float32",
        "token_scores/base/digits/label-bf16/clean/0.parquet": "bf16",
        "maps/base/digits/occlusion-bf16/label-vs-unconditional/0.parquet": "bf16",
        "curves/base/digits/occlusion-bf16/label-vs-unconditional/varc/0.parquet": "bf16",
        "curves/base/digits/occlusion-bf16/label-vs-unconditional/cnn/0.parquet": "bf16",
    }
    assert {name: provenance(results / name)["dtype"] for name in made} == made
    assert provenance(results / next(iter(made)))["forms"] == ["fused", "logsumexp"]


def of(results, folder, dataset="digits"):
    """The scores of all shards."""
    files = sorted((results / f"scores/base/{dataset}/all/{folder}").glob("*.parquet"))
    return np.concatenate([read_per_scale(file) for file in files])


def open_scores(results, folder):
    """What read_adaptive says of all shards."""
    return read_adaptive(*sorted((results / f"scores/base/digits/all/{folder}").glob("*.parquet")))[0]


@pytest.mark.parametrize("guidance", ["", "-cfg0.5"])
def test_scores_are_rounded_and_near_the_exact_ones(results, guidance):
    exact, half = of(results, f"scales4{guidance}/clean"), of(results, f"scales4-bf16{guidance}/clean")
    assert 1e-4 < np.abs(half - exact).max() < 0.02 * np.abs(exact).max()


def test_an_adaptive_funnel_scores_in_its_precision(results):
    """Its numbers are nearer to the full scores in bf16 than these are to the exact ones."""
    exact, half = of(results, "scales4/clean"), of(results, "scales4-bf16/clean")
    found = open_scores(results, "adaptive0.1-bf16-known")
    reached = ~np.isnan(found.per_step)
    assert reached.mean() > 0.3
    error, rounding = (np.abs(found.per_step - scores)[reached].mean() for scores in (half, exact))
    assert error < 0.5 * rounding


def test_a_certified_stage_gives_the_prediction_of_float32(results):
    name = "scales4-bf16-certify0.006-known"
    exact, half = of(results, "scales4/clean"), of(results, "scales4-bf16/clean")
    delta = read_json(results / f"certified/base/known/{name}.json")["delta"]
    expected = certified_delta(*(of(results, f"scales4{p}/clean", "known").sum(-1) for p in ("-bf16", "")), 0.006)
    assert delta == pytest.approx(expected) and 0 <= delta < 1
    found = open_scores(results, name)
    asked = open_contenders(half.sum(-1), delta)
    assert 0 < asked.any(1).mean() < 1
    assert np.abs(found.per_step - exact)[asked].max() < 1e-4
    assert np.array_equal(found.per_step[~asked], half[~asked])
    predicted = {c: pd.read_parquet(results / f"predictions/{c}/digits.parquet") for c in ("varc", "half", "certified")}
    differs = (predicted["certified"]["prediction"] != predicted["varc"]["prediction"]).sum()
    row = pd.read_csv(results / "tables/certified.csv").set_index("classifier").loc["certified"]
    assert row["changed"] == differs and row["observed_risk"] <= 0.1
    assert row["changed_by_precision"] == (predicted["half"]["prediction"] != predicted["varc"]["prediction"]).sum()
    assert row["reference"] == "varc" and row["calibration_unit"] == "image"
    assert predicted["certified"]["rank_stage1"].equals(predicted["half"]["rank_stage1"])
    assert predicted["certified"]["margin"].isna().mean() == pytest.approx(row["settled"])


def test_a_certified_stage_costs_what_it_computes(results):
    row = pd.read_csv(results / "tables/certified.csv").set_index("classifier").loc["certified"]
    gflops = pd.read_csv(results / "tables/gflops.csv").set_index(["classifier", "stage"])
    one = gflops.loc[("varc", "stage1"), "gflops"] / 10
    stages = [gflops.loc[("certified", stage), "gflops"] for stage in ("stage1", "stage2")]
    assert stages == pytest.approx([10 * one, row["passes_float32"] * one]) and row["gflops"] == pytest.approx(
        sum(stages)
    )
    total = gflops.loc[("certified", "total")]
    assert total["gflops"] == pytest.approx(sum(stages) + gflops.loc[("certified", "encoder"), "gflops"])
    assert total["passes"] == pytest.approx(10 + row["passes_float32"])
    cost = pd.read_csv(results / "tables/cost.csv").set_index(["classifier", "stage"])
    both = [cost.loc[("certified", stage), "device_seconds"] for stage in ("stage1", "stage2")]
    assert row["seconds"] == pytest.approx(sum(both), rel=1e-4)
    assert row["times_faster"] == pytest.approx(cost.loc[("varc", "stage1"), "device_seconds"] / sum(both), rel=1e-4)


def test_a_certified_stage_at_fewer_scales_reads_only_these_of_longer_files(results):
    """Those of float32 lie in files of all four scales, with which the run calibrates the adaptive funnel."""
    assert not (results / "scores/base/known/all/scales2").exists()
    exact = of(results, "scales4/clean", "known")[..., :2].sum(-1)
    expected = certified_delta(of(results, "scales2-bf16/clean", "known").sum(-1), exact, 0.006)
    delta = read_json(results / "certified/base/known/scales2-bf16-certify0.006-known.json")["delta"]
    assert delta == pytest.approx(expected) and delta < 1
    row = pd.read_csv(results / "tables/certified.csv").set_index("classifier").loc["certified_short"]
    best, half = (of(results, f"{f}/clean")[..., :2].sum(-1).argmax(1) for f in ("scales4", "scales2-bf16"))
    assert row["reference"] == "short" and row["changed_by_precision"] == (best != half).sum()
    files = (results / "scores/base/digits/all/scales4/clean").glob("*.parquet")
    seconds = sum(provenance(file)["seconds"] for file in files)
    assert row["seconds_float32"] == pytest.approx(seconds * 5 / 30, rel=1e-6)


@pytest.mark.parametrize("name", ["half", "guided", "adaptive", "certified", "certified_short"])
def test_the_library_gives_a_picture_of_the_run_its_scores(results, name, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    write_json(results / "classifiers.json", record(Run(read(config_of()))))
    expected = pd.read_parquet(results / f"predictions/{name}/digits.parquet").set_index("image_id")
    classifier = varc.load(results, name, device="cpu")
    ids = expected.index[:30].tolist()
    for one in classifier.classify(ids):
        row = expected.loc[one.image_id]
        assert one.prediction.class_id == row["prediction"]
        assert one.prediction.log_likelihood == pytest.approx(
            row["score"], rel=1e-5 if name.startswith("certified") else 1e-3
        )
        assert (one.margin is None) == np.isnan(row["margin"])
        if name.startswith("certified"):
            assert {c.fell_at for c in one.classes[1:]} <= {None, 1}


def test_token_scores_are_rounded(results):
    exact, half = (
        np.stack(read_parquet(results / f"token_scores/base/digits/label{p}/clean/0.parquet")["log_prob"].to_pylist())
        for p in ("", "-bf16")
    )
    assert 1e-5 < np.abs(exact - half).max() < 0.2


def test_a_network_judges_in_bfloat16():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16, 4))
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    classes, cpu = np.arange(4, dtype=np.int32), torch.device("cpu")
    exact, half = (judges.network_judge(net, classes, cpu, p)(images) for p in ("float32", "bf16"))
    assert 1e-4 < np.abs(exact - half).max() < 0.05
    assert (half == torch.from_numpy(half).bfloat16().double().numpy()).all()


def test_tf32_on_a_cpu_is_an_error_that_names_the_key(tmp_path, capsys):
    config = config_of(classifiers={"varc": {"model": "base", "funnel": [STAGE | {"precision": "tf32"}]}})
    config["evaluate"] = [{"datasets": ["digits"], "classifiers": ["varc"]}]
    with pytest.raises(SystemExit):
        run_missing(
            tmp_path / write_config(tmp_path, config), tmp_path, "results/digits/predictions/varc/digits.parquet"
        )
    assert "precision: tf32: this cpu has no TensorFloat-32; take the key away" in capsys.readouterr().err
    assert pd.DataFrame(list((tmp_path / "results/digits").glob("scores/**/*.parquet"))).empty
