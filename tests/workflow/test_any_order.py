"""An any-order model that is trained here, through the pipeline: a run of rivals alone."""

import json

import numpy as np
import pandas as pd
import pytest
from configs import read
from snakemake_runs import copy_project, plan, snakemake, write_config

from varc import load
from varc.baselines.costs import last_stage_cost
from varc.baselines.randar import step_costs
from varc.baselines.settings.randar import Adaptive, Shape
from varc.metrics.frontier import adaptive_gflops
from varc.scoring.adaptive import calibrate, final_order, read_adaptive, simulate
from workflow.config.entry import ConfigError
from workflow.plan import Plan
from workflow.run import Run

pytestmark = pytest.mark.long  # whole runs

CONFIG = {
    "run": "orders",
    "shards": 2,
    "datasets": {name: {"reader": "digits", "split": name} for name in ("train", "calibration", "test")},
    "models": {},
    "baselines": {
        "small": {
            "family": "randar",
            "shape": {"image_size": 8, "depth": 1, "width": 16, "heads": 2, "vocab_size": 16, "z_channels": 4}
            | {"ch": 32, "ch_mult": [1, 1, 1]},
            "train": {"data": "train", "steps": 40, "batch_size": 32, "lr": 0.01}
            | {"vq_steps": 20, "vq_batch_size": 16, "vq_lr": 0.003},
        }
    },
    "classifiers": {
        "funnel": {"baseline": "small", "stages": [{"tokens": 2, "keep": 4}, {"orders": 2}]},
        "soft": {"baseline": "small", "calibrate": "calibration", "stages": [{"orders": 2, "combine": "softmax"}]},
        "adaptive": {
            "baseline": "small",
            "calibrate": "calibration",
            "stages": [{"adaptive": {"alpha": 0.2, "chunk": 1, "orders": 3}}],
        },
        "chunks": {"baseline": "small", "stages": [{"chunk": 1}]},
    },
    "evaluate": [{"datasets": ["test"], "classifiers": ["funnel", "soft", "adaptive", "chunks"]}],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished run."""
    folder = copy_project(tmp_path_factory.mktemp("orders") / "project")
    done = snakemake(folder, "--configfile", write_config(folder, CONFIG))
    assert done.code == 0, done.output
    return folder


def test_all_tables_are_there(project):
    tables = project / "results/orders/tables"
    accuracy = pd.read_csv(tables / "accuracy.csv").set_index("classifier")
    assert set(accuracy.index) == {"funnel", "soft", "adaptive", "chunks"}
    assert (accuracy["top1"] > 0.2).all()  # ten classes
    assert pd.read_csv(tables / "main.csv")["parameters"].gt(0).all()
    assert pd.read_csv(tables / "calibration.csv")["classifier"].tolist() == ["soft"]
    pruning = pd.read_csv(tables / "pruning.csv")
    assert set(pruning["model"]) == {"funnel", "soft", "chunks"}
    predictions = pd.read_parquet(project / "results/orders/predictions/soft/test.parquet")
    first = pruning[(pruning["model"] == "soft") & (pruning["k"] == 1)]["recall"].item()
    assert first == pytest.approx((predictions["prediction"] == predictions["label"]).mean())


def test_recall_after_n_tokens_is_that_of_the_chunks_up_to_there(project):
    pruning = pd.read_csv(project / "results/orders/tables/pruning.csv").set_index("model")
    assert pruning.loc["soft", "tokens"].isna().all() and (pruning.loc["soft", "scales"] == 1).all()
    found = pruning.loc["chunks"].set_index(["tokens", "k"])
    assert len(found) == 40 and found["scales"].groupby("tokens").first().to_dict() == {1: 1, 2: 2, 3: 3, 4: 4}
    per_step, _ = full_scores(project)
    labels = pd.read_parquet(project / "results/orders/datasets/test.parquet")["label"].to_numpy()
    costs = step_costs(Shape(**CONFIG["baselines"]["small"]["shape"]), 10, Adaptive(chunk=1))
    for tokens, k in ((1, 3), (2, 1), (4, 2)):
        best = np.argsort(-per_step[..., :tokens].sum(2), axis=1, kind="stable")[:, :k]
        row = found.loc[(tokens, k)]
        assert row["recall"] == pytest.approx((best == labels[:, None]).any(1).mean())
        later = k * costs.passes[4].gflops if tokens < 4 else 0.0
        assert row["gflops"] == pytest.approx(costs.encoder.gflops + 10 * costs.passes[tokens].gflops + later)


def test_softmax_is_the_mean_over_orders_and_shards_are_apart(project):
    folder = project / "results/orders/scores/small/test/all"
    orders = [pd.concat(pd.read_parquet(folder / f"order{i}/{s}.parquet") for s in (0, 1)) for i in (0, 1)]
    scores = np.stack([table["log_likelihood"].to_numpy().reshape(-1, 10) for table in orders])
    softmax = np.exp(scores) / np.exp(scores).sum(2, keepdims=True)
    found = pd.read_parquet(project / "results/orders/predictions/soft/test.parquet")
    assert np.allclose(np.exp(found["score"]), softmax.mean(0).max(1))
    assert found["prediction"].tolist() == softmax.mean(0).argmax(1).tolist()


def test_a_plan_counts_every_job(project):
    """Plans take what each job does, its encoding too; gflops.csv counts the encoding once."""
    settings = CONFIG | {"gflops_per_second": 100, "run": "planned"}
    done = snakemake(project, "plan", "--configfile", write_config(project, settings, "planned.yaml"))
    assert done.code == 0, done.output
    found = plan(project, "--configfile", write_config(project, CONFIG | {"run": "new"}, "new.yaml"))
    # shards: prefix, its two orders, all of both data sets, and all that the adaptive stage may score
    assert found.jobs["score_baseline"] == 2 * (1 + 2 + 2 + 2 + 2 + 2)
    assert found.jobs["score_baseline_adaptive"] == 2 and found.jobs["calibrate"] == 1
    assert found.jobs["train_baseline"] == 1


FOLDER = "results/orders/scores/small/test/all"
ADAPTIVE = "adaptive0.2-orders3-chunk1-calibration"


def read_all(folder):
    return pd.concat(pd.read_parquet(folder / f"{s}.parquet") for s in (0, 1))


def full_scores(project, dataset="test"):
    """Of all classes, by chunks of the first order (N, 10, 4), and of the other two (2, N, 10)."""
    folder = project / f"results/orders/scores/small/{dataset}/all"
    first, *others = (read_all(folder / name) for name in ("order0-chunk1", "order1", "order2"))
    per_step = np.stack(first["per_scale"].to_numpy()).reshape(-1, 10, 4)
    assert np.allclose(per_step.sum(2).ravel(), first["log_likelihood"])
    return per_step, np.stack([table["log_likelihood"].to_numpy().reshape(-1, 10) for table in others])


def test_thresholds_come_from_the_calibration_images_and_decide_as_the_simulation_does(project):
    known = full_scores(project, "calibration")
    labels = pd.read_parquet(project / "results/orders/datasets/calibration.parquet")["label"].to_numpy()
    best = np.concatenate([known[0].sum(2)[None], known[1]]).mean(0).argmax(1)
    thresholds = calibrate(known[0], best, best == labels, 0.2)
    told = json.loads((project / f"results/orders/thresholds/small/calibration/{ADAPTIVE}.json").read_text())
    assert told["thresholds"] == pytest.approx(thresholds) and told["samples"] == 3
    per_step, others = full_scores(project)
    expected, less, more = (simulate(per_step, others, thresholds + slack) for slack in (0.0, -1e-4, 1e-4))
    table = read_all(project / FOLDER / ADAPTIVE)
    found = {name: table[name].to_numpy().reshape(-1, 10) for name in ("scales", "samples", "log_likelihood")}
    assert (less.steps <= found["scales"]).all() and (found["scales"] <= more.steps).all()
    # Images of equal tokens have equal scores: some lie at a threshold, but for rounding, which may decide them.
    clear = ((less.steps == more.steps) & (less.samples == more.samples)).all(1)
    assert clear.mean() > 0.9
    for name, known in (("scales", expected.steps), ("samples", expected.samples)):
        assert (found[name] == known)[clear].all()
    assert found["log_likelihood"][clear] == pytest.approx(expected.log_likelihood[clear], abs=1e-4)
    assert 0 < (expected.steps < 4).mean() < 1 and expected.samples.max() > 1
    predicted = pd.read_parquet(project / "results/orders/predictions/adaptive/test.parquet")["prediction"]
    assert (predicted.to_numpy() == final_order(expected)[:, 0])[clear].all()


def test_the_tables_of_an_adaptive_stage_have_risk_and_cost(project):
    tables = project / "results/orders/tables"
    adaptive = pd.read_csv(tables / "adaptive.csv")
    assert adaptive["reference"].eq("funnel").all() and adaptive["calibration_units"].gt(10).all()
    row = adaptive[adaptive["configured"]].squeeze()
    assert row["alpha"] == 0.2 and row["risk_images"] > 0 and row["observed_risk_low"] < 0.2
    gflops = pd.read_csv(tables / "gflops.csv").set_index(["classifier", "stage"])
    result = read_adaptive(*sorted((project / FOLDER / ADAPTIVE).glob("*.parquet")))[0]
    shape = Shape(**CONFIG["baselines"]["small"]["shape"])
    costs = step_costs(shape, 10, Adaptive(chunk=1, orders=3))
    expected = adaptive_gflops(result, costs).mean()
    assert row["scoring_gflops"] == pytest.approx(expected, rel=5e-3)  # of a simulation: see `clear` above
    assert gflops.loc[("adaptive", "stage1"), "gflops"] == pytest.approx(expected + costs.encoder.gflops)
    assert ("adaptive", "encoder") not in gflops.index  # a rival's is in its first stage
    accuracy = pd.read_csv(tables / "accuracy.csv").set_index("classifier")
    assert accuracy.loc["adaptive", "gflops_per_image"] == pytest.approx(expected + costs.encoder.gflops)
    assert row["top1"] == pytest.approx(accuracy.loc["adaptive", "top1"], abs=0.01)
    assert pd.read_csv(tables / "calibration.csv")["classifier"].tolist() == ["soft"]


def test_the_library_classifies_as_the_adaptive_stage_did(project):
    ids = pd.read_parquet(project / "results/orders/datasets/test.parquet")["image_id"].tolist()[:5]
    found = load(project / "results/orders", "adaptive").classify(ids, top=1)
    expected = pd.read_parquet(project / "results/orders/predictions/adaptive/test.parquet")
    assert [one.classes[0].class_id for one in found] == expected["prediction"].tolist()[:5]
    assert [one.classes[0].log_likelihood for one in found] == pytest.approx(expected["score"][:5], abs=1e-4)


def adaptive_config(classifier=None, **keys):
    """CONFIG with an adaptive classifier alone, of such keys."""
    given = {"alpha": 0.2, "chunk": 1, "orders": 3} | keys
    stages = [{"adaptive": {key: value for key, value in given.items() if value is not None}}]
    entry = {"baseline": "small", "calibrate": "calibration", "stages": stages} | (classifier or {})
    classifiers = {"adaptive": {key: value for key, value in entry.items() if value is not None}}
    return CONFIG | {"classifiers": classifiers, "evaluate": [{"datasets": ["test"], "classifiers": ["adaptive"]}]}


def test_an_adaptive_stage_shares_what_calibrates_it_with_a_fixed_one_of_its_chunks():
    config = adaptive_config()
    config["classifiers"] |= {"all": {"baseline": "small", "stages": [{"orders": 3, "chunk": 1}]}}
    config["evaluate"] = [{"datasets": ["test"], "classifiers": ["adaptive", "all"]}]
    run = Run(read(config), 1)
    ((adaptive,), (whole,)) = run.funnels["adaptive"], run.funnels["all"]
    assert adaptive.folder("test") == f"scores/small/test/all/{ADAPTIVE}"
    assert adaptive.full.folders("test") == whole.folders("test")
    names = {key[3] for key in run.scored if key[1] == "test"}
    assert names == {ADAPTIVE, "order0-chunk1", "order1", "order2"}
    raster = Run(read(adaptive_config(order="raster", orders=1)), 1).funnels["adaptive"][0]
    assert raster.name == "adaptive0.2-raster-chunk1-calibration"
    assert raster.full.folders("test") == ["scores/small/test/all/raster-chunk1"]


def test_a_plan_of_an_adaptive_stage_is_at_its_most_or_at_the_survival_that_the_config_says():
    costs = step_costs(Shape(**CONFIG["baselines"]["small"]["shape"]), 10, Adaptive(chunk=1, orders=3))
    a_pass, encoder = costs.passes[4].gflops, costs.encoder.gflops
    parts = [costs.passes[k].gflops for k in (1, 2, 3, 4)]
    expected = {
        None: 10 * 3 * a_pass,
        (0.5,): 5 * parts[0] + 5 * a_pass + 5 * 2 * a_pass,
        (0.8, 0.4, 0.2): 2 * parts[0] + 4 * parts[1] + 2 * parts[2] + 2 * a_pass + 2 * 2 * a_pass,
        (1.0, 1.0, 1.0, 0.1): 10 * a_pass + 1 * 2 * a_pass,
    }
    names = set()
    for survival, gflops in expected.items():
        plan = Plan(Run(read(adaptive_config(survival=survival and list(survival))), 1))
        (work,) = (work for work in plan.works if work.rule == "score_baseline_adaptive")
        assert last_stage_cost(plan.rivals()[work.model]).gflops == pytest.approx(gflops + encoder)
        names.add(work.folder)
    assert names == {f"scores/small/test/all/{ADAPTIVE}"}  # survival is no part of what is scored


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (adaptive_config(alpha=1.0), "stages: 0: adaptive: alpha: 1.0 should be less than 1"),
        (adaptive_config(alpha=0.0), "stages: 0: adaptive: alpha: 0.0 should be greater than 0"),
        (adaptive_config(alpha=None), "stages: 0: adaptive: alpha is missing"),
        (adaptive_config(chunk=None), "stages: 0: adaptive: chunk is missing"),
        (adaptive_config(chunk=0), "stages: 0: adaptive: chunk: 0 should be greater than or equal to 1"),
        (adaptive_config(chunk=5), "stages: 0: chunk is 5, but 4 tokens are scored"),
        (adaptive_config(orders=0), "stages: 0: adaptive: orders: 0 should be greater than or equal to 1"),
        (adaptive_config(order="raster"), "stages: 0: orders is 3, but order: raster is one order"),
        (adaptive_config(tokens=2), "stages: 0: adaptive: tokens is no key of family randar"),
        (adaptive_config(survival=[0.5, 1.5]), "stages: 0: adaptive: survival: 1: 1.5 should be less than or equal"),
        (adaptive_config({"calibrate": None}), "calibrate is missing; an adaptive stage takes its thresholds"),
        (adaptive_config({"calibrate": "test"}), "adaptive is calibrated on test; evaluate it on other images"),
        (adaptive_config({"calibrate": "train"}), "baselines: small: train: data: train, but classifiers: adaptive"),
        (
            adaptive_config({"stages": [{"adaptive": {"alpha": 0.1, "chunk": 1}, "keep": 2}]}),
            "stages: 0: keep is no key of an adaptive stage of a rival",
        ),
        (
            adaptive_config({"stages": [{"orders": 1, "keep": 3}, {"adaptive": {"alpha": 0.1, "chunk": 1}}]}),
            "stages: an adaptive stage stands alone",
        ),
        (adaptive_config({"stages": [{"chunk": 1, "keep": 3}, {"orders": 2}]}), "calibrate goes with one stage"),
    ],
)
def test_adaptive_stages_that_cannot_be_are_refused(config, message):
    with pytest.raises(ConfigError) as error:
        read(config)
    assert message in str(error.value)


def test_a_family_without_adaptive_stages_names_the_stage():
    config = adaptive_config({"stages": [{"adaptive": {"alpha": 0.1, "k": 1}}]})
    memory = {"family": "knn", "shape": {"image_size": 8, "memory": 9}, "train": {"data": "train"}}
    with pytest.raises(ConfigError, match="adaptive: stages: 0: family knn has no adaptive stages"):
        read(config | {"baselines": {"small": memory}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": None}, "models"),
        (
            {"classifiers": CONFIG["classifiers"] | {"var": {"model": "base", "funnel": [{"scales": 4, "keep": 1}]}}},
            "base",
        ),
    ],
)
def test_what_names_a_model_that_is_not_there_is_refused(project, change, message):
    done = snakemake(project, "--dry-run", "--configfile", write_config(project, CONFIG | change, "refused.yaml"))
    assert done.code != 0 and message in done.output


def test_models_may_be_left_out(project):
    settings = {key: value for key, value in CONFIG.items() if key != "models"}
    assert not plan(project, "--configfile", write_config(project, settings, "without.yaml")).jobs
