"""No image is scored twice: scores of all classes at fewer scales are read from those at more."""

import copy
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from configs import DIGITS, begun, read
from job_graph import jobs, run_missing
from snakemake_runs import copy_project, plan, snakemake, write_config

from varc.costs.counting import Cost, ModelCosts
from varc.errors import InputError
from varc.metrics.tables import gflops_rows
from varc.scoring.funnel import read_scores
from varc.storage import prefix_seconds, provenance, write_scores
from workflow.jobs import Jobs
from workflow.plan import Plan
from workflow.prefixes import recipe_of
from workflow.run import Run
from workflow.sources import begun_with_scores
from workflow.tables import Tables

STAGE = {"scales": 4, "keep": 1}
FULL = {"model": "base", "funnel": [STAGE]}


def funnel(scales, model="base", **first):
    return {"model": model, "funnel": [{"scales": scales, "keep": 5, **first}, STAGE]}


def config_of(classifiers, **changed):
    """The digits' config with other classifiers, trained for no longer than it takes to have a model."""
    config = copy.deepcopy(DIGITS) | {"classifiers": classifiers, "shards": 1, **changed}
    config["datasets"] |= {"more": {"reader": "digits", "split": "validation"}}
    config["datasets"] |= {"known": {"reader": "digits", "split": "calibration"}}
    for part in ("vqvae", "var"):
        config["models"]["base"]["train"][part]["steps"] = 2
    config["models"]["base"]["train"]["var"]["samples"] = 1
    config.setdefault("evaluate", [])
    if "evaluate" not in changed:
        config["evaluate"] = [{"datasets": ["digits"], "classifiers": list(classifiers)}]
    for key in {"ablation", "smoothing", "published"} - changed.keys():
        config.pop(key, None)
    config["datasets"]["digits"]["per_class"] = 3
    return config


def run_of(classifiers, shards=1, **changed):
    return Run(read(config_of(classifiers, **changed)), shards, lambda file: None)


def first_stage(run, name, dataset="digits"):
    """The scores that the first stage of a classifier reads, below the model's folder."""
    files = Jobs(run).predict_inputs(name, dataset)["stage1"]
    return [file.removeprefix("results/digits/scores/") for file in files]


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    """Runs begin in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_a_stage_reads_the_longest_scores_that_the_run_will_have():
    run = run_of({"short": funnel(2), "longer": funnel(3), "full": FULL})
    assert first_stage(run, "short") == first_stage(run, "full") == ["base/digits/all/scales4/clean/0.parquet"]
    (candidates,) = Jobs(run).prune_inputs("base", "digits", "2x1-keep5", "0")["scores"]
    assert candidates == "results/digits/scores/base/digits/all/scales4/clean/0.parquet"
    assert Jobs(run).scales("base", "digits", "2x1-keep5") == 2 and Jobs(run).stage_scales("longer") == [3, 4]
    without = run_of({"short": funnel(2), "longer": funnel(3)})
    assert first_stage(without, "short") == ["base/digits/all/scales3/clean/0.parquet"]
    assert first_stage(run_of({"short": funnel(2)}), "short") == ["base/digits/all/scales2/clean/0.parquet"]


@pytest.mark.parametrize(
    "other",
    [
        {"model": "base", "funnel": [STAGE | {"precision": "bf16"}]},
        {"model": "base", "funnel": [STAGE | {"guidance": 1.5}]},
        {"model": "cca", "funnel": [STAGE]},
        {"model": "base", "funnel": [{"scales": 1, "keep": 5}, STAGE]},  # at all scales, but of candidates alone
    ],
)
def test_scores_of_another_kind_are_not_read(other):
    run = run_of({"short": funnel(2), "other": other})
    assert first_stage(run, "short") == ["base/digits/all/scales2/clean/0.parquet"]
    bf16 = run_of({"short": funnel(2, precision="bf16"), "full": FULL})
    assert first_stage(bf16, "short") == ["base/digits/all/scales2-bf16/clean/0.parquet"]


def test_scores_of_other_images_are_not_read():
    evaluate = [{"datasets": ["digits", "more"], "classifiers": ["short"]}]
    evaluate += [{"datasets": ["more"], "classifiers": ["full"]}]
    run = run_of({"short": funnel(2), "full": FULL}, evaluate=evaluate)
    assert first_stage(run, "short") == ["base/digits/all/scales2/clean/0.parquet"]
    assert first_stage(run, "short", "more") == ["base/more/all/scales4/clean/0.parquet"]
    assert [run.reused(name, run.funnels["short"][0]) for name in ("digits", "more")] == [0, 1]


def test_noisy_samples_are_prefixes_too_as_far_as_there_are_longer_ones():
    smoothed = {"sigma": 0.1} | funnel(2, samples=3)
    full = {"model": "base", "sigma": 0.1, "funnel": [STAGE | {"samples": 2}]}
    run = run_of({"smoothed": smoothed, "full": full})
    folders = [file.removesuffix("/0.parquet") for file in first_stage(run, "smoothed")]
    long, own = ("base/digits/all/scales4", "base/digits/all/scales2")
    assert folders == [f"{long}/clean", f"{long}/sigma0.1-1", f"{own}/sigma0.1-2"]
    assert run.reused("digits", run.funnels["smoothed"][0]) == 2
    assert run.computed("digits", run.funnels["smoothed"][0]) == ["scores/base/digits/all/scales2/sigma0.1-2"]
    other = run_of({"smoothed": smoothed, "full": full | {"sigma": 0.2}})
    assert first_stage(other, "smoothed")[1] == f"{own}/sigma0.1-1/0.parquet"


def test_a_smoothed_stage_reads_its_clean_scores_where_the_first_stage_does():
    two = {"model": "base", "sigma": 0.1, "funnel": [{"scales": 2, "keep": 5}, {"scales": 2, "samples": 2, "keep": 1}]}
    run = run_of({"two": two, "full": FULL})
    files = Jobs(run).predict_inputs("two", "digits")
    assert files["stage2"][0] == files["stage1"][0] == "results/digits/scores/base/digits/all/scales4/clean/0.parquet"
    assert [run.reused("digits", stage) for stage in run.funnels["two"]] == [1, 1]


@pytest.mark.parametrize(
    "longer",
    [
        {"smoothing": [{"datasets": ["digits"], "models": ["base"], "sigmas": [0.1], "samples": [2]}]},
        {"explain": [{"datasets": ["digits"], "models": ["base"], "methods": ["tmi"], "target": "prediction"}
                     | {"against": "unconditional"}]},
    ],
)  # fmt: skip
def test_tables_and_explanations_need_longer_scores_as_well(longer):
    run = run_of({"short": funnel(2)}, **longer)
    assert first_stage(run, "short") == ["base/digits/all/scales4/clean/0.parquet"]
    folders = {work.folder for work in Plan(run).works}
    assert "scores/base/digits/all/scales4/clean" in folders and "scores/base/digits/all/scales2/clean" not in folders


def test_an_explanation_that_asks_for_no_scores_does_not_bring_them():
    entry = {"datasets": ["digits"], "models": ["base"], "methods": ["tmi"], "against": "unconditional"}
    run = run_of({"short": funnel(2)}, explain=[entry | {"target": "label"}])
    assert first_stage(run, "short") == ["base/digits/all/scales2/clean/0.parquet"]


def test_an_adaptive_funnel_has_scores_of_its_evaluated_images_at_all_scales():
    adaptive = {"model": "base", "calibrate": "known", "funnel": [{"adaptive": {"alpha": 0.1}}]}
    run = run_of({"short": funnel(2), "adaptive": adaptive})
    assert first_stage(run, "short") == ["base/digits/all/scales4/clean/0.parquet"]


def test_computed_gflops_leave_out_what_is_read_and_nominal_ones_do_not():
    run = run_of({"short": funnel(2), "full": FULL})
    costs = ModelCosts(Cost(0.0, 0.0), {2: Cost(1.0, 0.0), 4: Cost(3.0, 0.0)})
    rows = gflops_rows("digits", 10, "short", Tables(run).funnel("digits", "short"), (1, 2, 3, 4), costs)
    assert [row["gflops"] for row in rows[1:]] == [10, 15, 25]
    assert [row["gflops_computed"] for row in rows[1:]] == [0, 15, 15]


TEN = {
    "varc": FULL,
    "smoothed": {"model": "base", "sigma": 0.1, "funnel": [STAGE | {"samples": 2}]},
    "cca": FULL | {"model": "cca"},
    **{f"at_{k}": funnel(k) for k in (1, 2, 3)},
    **{f"cca_at_{k}": funnel(k, "cca") for k in (1, 2, 3)},
    "smoothed_at_2": {"sigma": 0.1} | funnel(2, samples=2),
}


def test_ten_classifiers_score_all_classes_once_for_each_model_and_sample(tmp_path):
    """Without reading prefixes three first stages of either model, and a smoothed one's noisy sample, would have jobs
    of their own: 7 more per shard."""
    shards = 2
    config = config_of(TEN) | {"shards": shards}
    own = run_of(TEN, shards)
    apart = {f for stages in own.funnels.values() for stage in stages for f in stage.folders("digits")}
    found = Counter(job.rule for job in jobs(tmp_path, config))
    planned = {work.folder for work in begun(config).plan.works if work.rule == "score"}
    assert found["score"] == shards * len(planned) == shards * (len(apart) - 7)
    full = {folder for folder in planned if "/all/" in folder}
    assert full == {f"scores/{f}" for f in ("base/digits/all/scales4/clean", "base/digits/all/scales4/sigma0.1-1")} | {
        "scores/cca/digits/all/scales4/clean"
    }


# what lies there


def lay(run, scales, shard=0, recipe=None, noise="clean"):
    """A file of scores as `score` would write it, as far as a plan looks at it."""
    path = Path(run.path(f"scores/base/digits/all/scales{scales}/{noise}/{shard}.parquet"))
    made = {"made_from": {"params": {"recipe": recipe or run.recipe("base", "digits")}}}
    ids, classes = np.array(["a"], object), np.arange(10, dtype=np.int32)[None]
    write_scores(path, ids, classes, np.zeros((1, 10, scales)), {"images": 1, **made})
    return path


SHORT, GROWN = {"short": funnel(2)}, {"short": funnel(2), "longer": funnel(3), "full": FULL}


def test_what_lies_there_is_read_when_a_longer_one_comes_and_when_it_goes():
    lay(run_of(SHORT), 2)
    grown = run_of(GROWN)
    scales = [first_stage(grown, name)[0].split("/")[3] for name in GROWN]
    assert scales == ["scales2", "scales4", "scales4"]
    assert [grown.reused("digits", grown.funnels[name][0]) for name in GROWN] == [0, 1, 0]
    lay(grown, 4)  # it has run
    assert [first_stage(run_of(GROWN), name)[0].split("/")[3] for name in GROWN] == scales
    shrunk = run_of({"longer": funnel(3)})
    assert first_stage(shrunk, "longer") == ["base/digits/all/scales4/clean/0.parquet"]
    assert ("base", "digits", "all", "scales4") in shrunk.scored  # a rule knows how it is made
    assert not any(work.rule == "score" and "/all/" in work.folder for work in Plan(shrunk).works)


def test_scores_of_another_making_are_not_read_where_others_are_made_anyway():
    """Else a model that is trained anew would have them all made again."""
    file = lay(run_of(SHORT), 2, recipe="0" * 64)
    assert recipe_of(file) == "0" * 64
    assert first_stage(run_of(GROWN), "short") == ["base/digits/all/scales4/clean/0.parquet"]
    lay(run_of(SHORT), 4, recipe="0" * 64)
    assert first_stage(run_of(SHORT), "short") == ["base/digits/all/scales2/clean/0.parquet"]


@pytest.mark.parametrize("damage", [b"", b"no Parquet", None])
def test_damaged_scores_are_not_read_in_place_of_others(damage):
    file = lay(run_of(SHORT), 4)
    file.write_bytes(file.read_bytes()[:-9] if damage is None else damage)
    assert first_stage(run_of(SHORT), "short") == ["base/digits/all/scales2/clean/0.parquet"]


def test_each_shard_is_read_where_it_lies():
    """Of a killed run, whose config then had a longer classifier."""
    lay(run_of(SHORT), 2, shard=1)
    run = run_of(GROWN, shards=4)
    files = [file.split("/")[3] for file in first_stage(run, "short")]
    assert files == ["scales4", "scales2", "scales4", "scales4"]
    assert run.reused("digits", run.funnels["short"][0]) == 0.75


def test_the_recipe_changes_with_what_scores_are_made_from_alone():
    config = config_of(GROWN)

    def recipe(*keys, value):
        changed = copy.deepcopy(config)
        at = changed
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value
        return Run(read(changed), 1, lambda file: None).recipe("base", "digits")

    same = recipe("seed", value=0)
    assert same == recipe("published", value="x.csv") == recipe("classifiers", "short", "funnel", value=[STAGE])
    assert same == recipe("models", "cca", "cca", "steps", value=7)  # of a model that base does not come from
    others = [recipe("seed", value=1), recipe("models", "base", "train", "var", "steps", value=3)]
    others += [
        recipe("datasets", "digits", "per_class", value=2),
        recipe("datasets", "digits_train", "per_class", value=2),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_jobs_read_what_the_run_began_to_read(monkeypatch):
    """Whatever is made or taken away meanwhile."""
    lay(run_of(SHORT), 2)
    known = run_of(GROWN).prefixes.exceptions(1)
    assert known == {"scores/base/digits/all/scales2/clean/0": 2}
    config = read(config_of(GROWN))
    Path("results/digits/scores/base/digits/all/scales2/clean/0.parquet").unlink()
    job = Run(config, 1, lambda file: None, known)
    assert first_stage(job, "short") == ["base/digits/all/scales2/clean/0.parquet"]
    assert first_stage(job, "longer") == ["base/digits/all/scales4/clean/0.parquet"]
    assert first_stage(Run(config, 1, lambda file: None), "short") == ["base/digits/all/scales4/clean/0.parquet"]


# the numbers


def test_prefixes_of_a_file_by_hand(tmp_path):
    per_scale = np.random.default_rng(0).normal(size=(2, 3, 4))
    ids, path = np.array(["a", "b"], object), tmp_path / "0.parquet"
    write_scores(path, ids, np.array([[1, 4, 6]] * 2, np.int32), per_scale, {"images": 2, "seconds": 30.0})
    for k in (1, 2, 3):
        assert read_scores(path, k).log_likelihood.tolist() == per_scale[..., :k].sum(-1).tolist()
        write_scores(
            tmp_path / "k.parquet", ids, np.array([[1, 4, 6]] * 2, np.int32), per_scale[..., :k], {"images": 2}
        )
        assert (read_scores(tmp_path / "k.parquet").log_likelihood == read_scores(path, k).log_likelihood).all()
    assert (read_scores(path, 4).log_likelihood == read_scores(path).log_likelihood).all()
    with pytest.raises(InputError, match=r"0\.parquet: has scores at 4 scales, and 5 are asked for"):
        read_scores(path, 5)
    assert prefix_seconds([path], 2, [1, 2, 3, 4]) == pytest.approx(30 * 5 / 30)


def targets(*names):
    return [f"results/digits/predictions/{name}/digits.parquet" for name in names]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The predictions of a classifier whose first stage has two scales, in a project of its own."""
    folder = copy_project(tmp_path_factory.mktemp("prefixes") / "project")
    config = write_config(folder, config_of(SHORT), "short.yaml")
    done = snakemake(folder, *targets("short"), "--configfile", config)
    assert done.code == 0, done.output
    return folder


def of(folder, paths):
    return {path: path.stat().st_mtime_ns for path in folder.rglob(paths)}


@pytest.mark.long  # runs of Snakemake
def test_a_longer_classifier_reruns_no_scores_and_gives_the_same(project, tmp_path):
    folder = project / "results/digits"
    before, name = of(folder, "*.parquet"), write_config(project, config_of(GROWN), "grown.yaml")
    asked = ["results/digits/tables/cost.csv", *targets(*GROWN), "--configfile", name]
    found = plan(project, *asked).jobs
    assert (found["score"], found["prune"], found["predict"]) == (2, 1, 2)  # full, longer; none of short
    done = snakemake(project, *asked)
    assert done.code == 0, done.output
    after = of(folder, "*.parquet")
    assert {path: after[path] for path in before} == before
    scored = sorted(str(p.parent.relative_to(folder / "scores/base/digits")) for p in (folder / "scores").rglob("*.*"))
    stages = ["2x1-keep5/scales4", "3x1-keep5/scales4", "all/scales2", "all/scales4"]
    assert scored == [f"{stage}/clean" for stage in stages]
    gflops = pd.read_csv(folder / "tables/gflops.csv").set_index(["classifier", "stage"])
    assert gflops.loc[("short", "stage1"), "gflops_computed"] == gflops.loc[("short", "stage1"), "gflops"]
    assert gflops.loc[("longer", "stage1"), "gflops_computed"] == 0 < gflops.loc[("longer", "stage1"), "gflops"]
    cost = pd.read_csv(folder / "tables/cost.csv").set_index(["classifier", "stage"])
    assert cost.loc[("longer", "stage1"), "device_seconds"] == 0 < cost.loc[("longer", "stage2"), "device_seconds"]
    assert math.isnan(cost.loc[("longer", "stage1"), "gflops_per_second"])
    assert provenance(folder / "predictions/longer/digits.parquet")["read_seconds"] > 0
    assert "Nothing to be done" in snakemake(project, "--dry-run", *asked).output
    assert (project / begun_with_scores("digits")).is_file()

    # a classifier that comes when the others have gone reads what they left
    last = write_config(project, config_of({"last": funnel(3, keep=4)}), "last.yaml")
    found = plan(project, *targets("last"), "--configfile", last)
    assert (found.jobs["score"], found.jobs["predict"]) == (1, 1) and not any("/all/" in file for file in found.files)

    # and the numbers are those of a run that had nothing else to read
    alone = tmp_path / write_config(tmp_path, config_of({"longer": funnel(3)}))
    run_missing(alone, tmp_path, *targets("longer"))
    same(folder, tmp_path / "results/digits", "predictions/longer/digits.parquet")
    same(folder, tmp_path / "results/digits", "candidates/base/digits/3x1-keep5/0.parquet")


def same(one, other, name):
    """Of two runs a file has the same numbers, but for rounding where they are log-likelihoods."""
    one, other = (pd.read_parquet(folder / name) for folder in (one, other))
    floats = [column for column in one if one[column].dtype == float and column in ("score", "margin")]
    assert floats
    pd.testing.assert_frame_equal(one.drop(columns=floats), other.drop(columns=floats))
    for column in floats:
        assert np.allclose(one[column], other[column], rtol=1e-5, atol=1e-5), column


@pytest.mark.long
def test_a_model_trained_anew_has_its_scores_made_once(project):
    config = config_of(GROWN)
    config["models"]["base"]["train"]["var"]["steps"] = 3
    found = plan(project, *targets(*GROWN), "--configfile", write_config(project, config, "anew.yaml"))
    assert found.jobs["score"] == 3  # 4 scales of all classes, and of either candidates
    assert not any("all/scales2" in file for file in found.files)


def test_the_run_makes_one_file_of_all_classes(tmp_path):
    name = tmp_path / write_config(tmp_path, config_of(GROWN))
    run_missing(name, tmp_path, *targets("short"))
    found = sorted(p.parts[-4] + "/" + p.parts[-3] for p in (tmp_path / "results").rglob("scores/**/*.parquet"))
    assert found == ["2x1-keep5/scales4", "all/scales4"]
