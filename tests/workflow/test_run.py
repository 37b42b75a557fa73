"""The default run, end to end, and what each change makes rerun (dry runs on the finished results)."""

import base64
import copy
import html
import json
import re
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from browser import browser, needs_chromium
from forward import log_prob_per_token
from PIL import Image
from safetensors.torch import load_file, save_file
from snakemake_runs import copy_project, default_config, plan, snakemake, write_config

from varc.data.classes import data_set_classes
from varc.data.manifest import load_images, manifest
from varc.data.tensors import to_input
from varc.explain.tmi import tmi_map
from varc.files import file_sha256
from varc.metrics.accuracy import wilson_interval
from varc.models.checkpoints import load_var, load_vqvae
from varc.models.weights import card_path, read_card
from varc.scoring.adaptive import final_order, read_adaptive, simulate
from varc.scoring.labelled import read_labelled_scores
from varc.scoring.smoothing import noise
from varc.seal import read_json, write_json

pytestmark = pytest.mark.long  # whole runs


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished default run, in a folder with spaces in its name."""
    folder = copy_project(tmp_path_factory.mktemp("run") / "a folder with spaces")
    (folder / "config" / "other.csv").write_text((folder / "config" / "published.csv").read_text() + "x,y,0.5,1,z\n")
    run = snakemake(folder)
    assert run.code == 0, run.output
    return folder


@pytest.fixture
def results(project):
    return project / "results" / "digits"


def table(results, name):
    return pd.read_csv(results / "tables" / f"{name}.csv")


# What came out


def test_the_classifier_is_as_good_as_promised(results):
    accuracy = table(results, "accuracy").set_index("classifier")
    assert (accuracy["images"] == 454).all()
    assert accuracy.loc["varc", "top1"] >= 0.95
    assert accuracy["top1"].min() >= 0.94
    pruning = table(results, "pruning").set_index(["model", "scales", "k"])
    stage = default_config(results.parents[1])["classifiers"]["a_varc"]["funnel"][0]
    assert pruning.loc[("base", stage["scales"], stage["keep"]), "recall"] >= 0.98


@torch.inference_mode()
def test_scores_are_those_of_a_plain_loop_over_images_classes_and_samples(results):
    vqvae, card = load_vqvae(results / "models/base/vqvae.safetensors")
    var, _ = load_var(results / "models/base/var.safetensors")
    spec = {"reader": "digits", "split": "test"}
    listed, _ = manifest(spec, data_set_classes(spec))
    images = to_input(load_images(spec, listed, 8))
    sigma = 0.2 * card["feature_std"]
    stored = [
        pd.concat(
            pd.read_parquet(results / f"scores/base/digits/all/scales4/{name}/{shard}.parquet") for shard in (0, 1)
        )
        for name in ("clean", "sigma0.2spread-1", "sigma0.2spread-2")
    ]
    for i in (0, 100, 226, 227, 453):  # both shards
        f = vqvae.features(images[i : i + 1])
        for sample, scores in enumerate(stored):
            noisy = f + sigma * noise([listed[i].image_id], sample, 0, f.shape[1:]) if sample else f
            tokens = vqvae.quantize.quantize(noisy)
            own = scores[scores["image_id"] == listed[i].image_id].set_index("class_id")
            for y in range(10):
                log_prob = log_prob_per_token(var, vqvae.quantize.teacher_input(tokens), tokens, torch.tensor([y]))[0]
                assert own.loc[y, "log_likelihood"] == pytest.approx(log_prob.double().sum().item(), abs=1e-3)
                expected = [part.double().sum().item() for part in log_prob.split([1, 4, 9, 16])]
                assert own.loc[y, "per_scale"].tolist() == pytest.approx(expected, abs=1e-3)


def test_fine_tuning_keeps_the_best_validated_step_and_does_no_harm(results):
    curve = pd.read_csv(results / "models/cca/finetune_curve.csv")
    known = curve.dropna(subset="validation_accuracy")
    assert known["step"].tolist() == list(range(0, 81, 10))
    log = (results / "logs/finetune/cca.log").read_text()
    best = f"validation_accuracy {known['validation_accuracy'].max():.4f}, validation_nats_per_token "
    assert re.search(rf"best validation at step \d+: {re.escape(best)}", log)
    late = curve.tail(20).mean()
    assert late["log_ratio_negative"] < late["log_ratio"] - 10  # nats: the labels are told apart
    card = read_card(results / "models/cca/var.safetensors")
    assert card["finetuned_from"] == file_sha256(results / "models/base/var.safetensors")
    accuracy = table(results, "accuracy").set_index("classifier")["top1"]
    assert accuracy["varc_cca"] >= accuracy["varc"] - 0.01 and accuracy["a_varc_plus"] >= 0.95


def test_the_ablation_compares_the_same_images(results):
    ablation = table(results, "ablation").set_index("classifier")
    assert set(ablation.index) == {"varc", "varc_smoothed", "varc_cca", "varc_cca_smoothed"}
    assert ablation["training"].to_dict()["varc_cca"] == "cca" and ablation.loc["varc", "vs_plain_difference"] == 0
    right = {
        name: (p := pd.read_parquet(results / f"predictions/{name}/digits.parquet"))["label"] == p["prediction"]
        for name in ablation.index
    }
    for name, row in ablation.iterrows():
        assert row["top1"] == pytest.approx(right[name].mean())
        assert row["vs_plain_difference"] == pytest.approx(right[name].mean() - right["varc"].mean())
        gained, lost = right[name] & ~right["varc"], right["varc"] & ~right[name]
        assert (row["vs_plain_gained"], row["vs_plain_lost"]) == (gained.sum(), lost.sum())
        assert np.isnan(row["vs_plain_p_holm"]) if name == "varc" else row["vs_plain_p"] <= row["vs_plain_p_holm"]
    assert ablation.loc["varc_cca_smoothed", "paper_top1"] == 0.8972 and ablation.loc["varc", "paper_gflops"] == 14105
    scores = pd.concat(pd.read_parquet(results / f"scores/cca/digits/all/scales4/clean/{s}.parquet") for s in (0, 1))
    labels = pd.read_parquet(results / "datasets/digits.parquet").set_index("image_id")["label"]
    own = scores[scores["class_id"] == scores["image_id"].map(labels)]["log_likelihood"]
    assert ablation.loc["varc_cca", "log_likelihood_per_token"] == pytest.approx(own.mean() / 30)


def test_samples_of_every_class_are_drawn(results):
    for model in ("base", "cca"):
        with Image.open(results / f"models/{model}/samples.png") as picture:
            assert picture.size == (8 * 54, 10 * 54)  # 8 pixels and a line, enlarged sixfold
            rows = np.asarray(picture.convert("L")).reshape(10, 54, 8 * 54)
    assert len({row.tobytes() for row in rows}) == 10


def stored_scores(results, folder):
    parts = [pd.read_parquet(results / f"scores/base/digits/{folder}/{shard}.parquet") for shard in (0, 1)]
    return pd.concat(parts)[["image_id", "class_id", "log_likelihood"]]


def test_the_funnel_is_what_its_stages_say(results):
    """Stage by stage with pandas, from the scores of all classes at all scales and samples."""
    full = pd.concat(pd.read_parquet(results / f"scores/base/digits/all/scales4/clean/{s}.parquet") for s in (0, 1))
    full["coarse"] = full["per_scale"].map(lambda values: values[:3].sum())
    keys = ["image_id", "class_id"]
    for i in (1, 2):
        other = stored_scores(results, f"all/scales4/sigma0.2spread-{i}").rename(
            columns={"log_likelihood": f"noisy{i}"}
        )
        full = full.merge(other, on=keys)
    full["smoothed"] = full[["log_likelihood", "noisy1", "noisy2"]].mean(axis=1)
    left = full
    for column, keep in (("coarse", 5), ("log_likelihood", 3), ("smoothed", 1)):
        left = left.sort_values(column, ascending=False).groupby("image_id").head(keep)
    expected = left.set_index("image_id")["class_id"]
    predictions = pd.read_parquet(results / "predictions/a_varc/digits.parquet").set_index("image_id")
    assert (predictions["prediction"] == expected[predictions.index]).all()
    score = left.set_index("image_id")["smoothed"]
    assert np.allclose(predictions["score"], score[predictions.index], atol=1e-3)


def test_accuracy_follows_from_the_predictions(results):
    accuracy = table(results, "accuracy").set_index("classifier")
    gflops = table(results, "gflops").set_index(["classifier", "stage"])["gflops"]
    for name in ("varc", "varc_smoothed", "a_varc"):
        predictions = pd.read_parquet(results / f"predictions/{name}/digits.parquet")
        right = predictions["label"] == predictions["prediction"]
        row = accuracy.loc[name]
        assert row["top1"] == pytest.approx(right.mean())
        assert (row["top1_low"], row["top1_high"]) == pytest.approx(wilson_interval(right.sum(), 454))
        assert row["gflops_per_image"] == pytest.approx(gflops[name, "total"])
        last = [column for column in predictions if column.startswith("rank_stage")][-1]
        assert (right == (predictions[last] == 1)).all()
        assert (predictions["margin"] >= 0).all() and (predictions["runner_up"] != predictions["prediction"]).all()


def seconds_of(results, pattern):
    files = [path for path in results.glob(pattern) if path.suffix == ".parquet"]
    assert files
    return sum(json.loads(pq.read_schema(path).metadata[b"varc"])["seconds"] for path in files)


def test_costs_are_the_measured_seconds_each_counted_once(results):
    cost = table(results, "cost").set_index(["classifier", "stage"])
    seconds = cost["device_seconds"]
    scores = "scores/base/digits"
    assert seconds["a_varc", "stage1"] == 0  # its scores are the first three scales of varc's
    # the clean scores of stage 3 are those of stage 2
    own = seconds_of(results, f"{scores}/3x1-keep5.4x1-keep3/scales4/sigma*/*")
    assert seconds["a_varc", "stage3"] == pytest.approx(own)
    stages = ["encoder", "stage1", "stage2", "stage3"]
    assert seconds["a_varc", "total"] == pytest.approx(sum(seconds["a_varc", stage] for stage in stages))
    accuracy = table(results, "accuracy").set_index("classifier")["seconds_per_image"]
    read = seconds_of(results, f"{scores}/all/scales4/clean/*") * 14 / 30  # of 30 tokens those of three scales
    own = cost.loc[("a_varc", "total"), "seconds_per_image"]
    assert own + read / 454 == pytest.approx(accuracy["a_varc"])
    gflops = table(results, "gflops").set_index(["classifier", "stage"])["gflops_computed"]
    rate = 454 * gflops["a_varc", "stage3"] / seconds["a_varc", "stage3"]
    assert cost.loc[("a_varc", "stage3"), "gflops_per_second"] == pytest.approx(rate)


def test_recall_follows_from_the_scores(results):
    full = pd.concat(pd.read_parquet(results / f"scores/base/digits/all/scales4/clean/{s}.parquet") for s in (0, 1))
    labels = pd.read_parquet(results / "datasets/digits.parquet").set_index("image_id")["label"]
    pruning = table(results, "pruning").set_index(["model", "scales", "k"])["recall"]
    assert len(pruning) == 80
    for scales in (1, 3, 4):
        full["score"] = full["per_scale"].map(lambda values, n=scales: values[:n].sum())
        rank = full.groupby("image_id")["score"].rank(ascending=False)
        own = rank[full["class_id"] == full["image_id"].map(labels)]
        for k in (1, 5, 10):
            assert pruning["base", scales, k] == pytest.approx((own <= k).mean())


def test_files_have_the_columns_and_types_of_the_contract(results):
    expected = {
        "datasets/digits": "image_id: string, label: int32, path: string, group: string",
        "tokens/base/digits/clean/0": "image_id: string, tokens: fixed_size_list<element: uint16>[30]",
        "scores/base/digits/all/scales4/clean/1": "image_id: string, class_id: int32, log_likelihood: double, "
        "per_scale: fixed_size_list<element: double>[4]",
        "candidates/base/digits/3x1-keep5.4x1-keep3/0": "image_id: string, class_id: int32, rank: int32, score: double",
        "predictions/a_varc/digits": "image_id: string, label: int32, prediction: int32, score: double, "
        "runner_up: int32, margin: double, rank_stage1: int32, rank_stage2: int32, rank_stage3: int32",
    }
    for name, columns in expected.items():
        schema = pq.read_schema(results / f"{name}.parquet")
        assert ", ".join(f"{field.name}: {field.type}" for field in schema) == columns
    tables = {
        "per_class": "dataset classifier class_id name images top1 top1_low top1_high unit predicted taken_for "
        "taken_for_images",
        "confusion": "dataset classifier label label_name prediction prediction_name images share",
        "accuracy": "dataset classifier model images skipped top1 top1_low top1_high top5 top5_low top5_high "
        "unit gflops_per_image seconds_per_image",
        "gflops": "dataset classes classifier stage passes tokens samples gflops gflops_computed attention_gflops",
        "pruning": "dataset model scales k recall recall_low recall_high unit gflops",
    }
    for name, columns in tables.items():
        assert " ".join(table(results, name)) == columns


def test_provenance_says_how_scores_were_got(results):
    path = results / "scores/base/digits/3x1-keep5.4x1-keep3/scales4/sigma0.2spread-1/0.parquet"
    record = json.loads(pq.read_schema(path).metadata[b"varc"])
    assert record["var_sha256"] == file_sha256(results / "models/base/var.safetensors")
    assert record["vqvae_sha256"] == file_sha256(results / "models/base/vqvae.safetensors")
    assert (record["images"], record["dtype"], record["device"]) == (227, "float32", "cpu")
    assert record["images_per_second"] == pytest.approx(227 / record["seconds"])
    tokens = results / "tokens/base/digits/sigma0.2spread-1/0.parquet"
    record = json.loads(pq.read_schema(tokens).metadata[b"varc"])
    std = read_card(results / "models/base/vqvae.safetensors")["feature_std"]
    assert record["sigma"] == pytest.approx(0.2 * std)


def test_a_smoothed_stage_never_scores_its_clean_sample_again(results):
    # stage 3 of a_varc reads the clean scores of stage 2
    assert not list((results / "scores/base/digits/3x1-keep5.4x1-keep3").rglob("clean"))
    assert len(list((results / "scores/base/digits/3x1-keep5.4x1-keep3").rglob("*.parquet"))) == 4


def test_training_leaves_curves_cards_and_a_log_with_progress(results):
    for part, steps in (("vqvae", 300), ("var", 1200)):
        curve = pd.read_csv(results / f"models/base/{part}_curve.csv")
        assert curve["step"].tolist() == list(range(1, steps + 1))
        assert (results / f"models/base/{part}_curve.svg").read_text().lstrip().startswith("<?xml")
        card = read_card(results / f"models/base/{part}.safetensors")
        assert card["seed"] == 0 and card["images"] == 973 and card["settings"]["steps"] == steps
        log = (results / f"logs/train_{part}/base.log").read_text()
        assert re.search(rf"step {steps}/{steps}, .*loss [\d.]+.* [\d.]+ steps/s, ETA 0 s", log)


@pytest.fixture(scope="module")
def report(project):
    run = snakemake(project, "--report", "results/digits/report.html")
    assert run.code == 0, run.output
    return project / "results/digits/report.html"


def told(report, name):
    """What the report's page holds under a name."""
    return json.loads(re.search(rf'<script id="[a-z-]+">\s*var {name} = (.*);\n', report.read_text())[1])


def shown_interval(row, name):
    """A share of a table with its interval as the report has it."""
    return f"{100 * row[name]:.1f} [{100 * row[f'{name}_low']:.1f}, {100 * row[f'{name}_high']:.1f}]"


def test_the_report_opens_on_the_numbers_of_the_run(report, results):
    front = told(report, "workflow_desc")
    assert "<h1>digits</h1>" in front
    best = table(results, "accuracy").sort_values(["top1", "gflops_per_image"], ascending=[False, True]).iloc[0]
    assert f"On digits {best['classifier']} has the highest top-1: {shown_interval(best, 'top1')} %" in front
    rows = re.findall("<tr>(.*?)</tr>", front, re.DOTALL)[1:]
    found = {cells[1]: cells for row in rows if (cells := re.findall("<td[^>]*>(.*?)</td>", row))}
    for row in table(results, "accuracy").to_dict("records"):
        expected = ["digits", row["classifier"], "454", shown_interval(row, "top1"), shown_interval(row, "top5")]
        assert found[row["classifier"]][:5] == expected
    assert len(found) == 6 and front.count("<figure>") == 1  # pruning


def test_the_report_has_a_page_for_each_table_and_picture(report, results):
    shown = told(report, "results")
    tables = {f"report/{path.stem}.html" for path in (results / "tables").glob("*.csv")}
    curves = {f"report/models/{name}.html" for name in ("base/vqvae_curve", "base/var_curve", "cca/finetune_curve")}
    samples = {f"report/models/{model}/samples.html" for model in ("base", "cca")}
    assert shown.keys() == {f"results/digits/{name}" for name in tables | curves | samples}
    front = told(report, "workflow_desc")
    for name, page in shown.items():
        text = base64.b64decode(page["data_uri"].partition("base64,")[2]).decode()
        assert page["labels"] == {"shows": re.search("<h1>(.*?)</h1>", text)[1]}
        assert html.escape(page["labels"]["shows"], quote=False) in front and json.dumps(name) in front
        assert page["caption"] and not re.search(r"<(script|img|link|iframe)[^>]*(src|href)=.?https?:", text)
    pruning = base64.b64decode(shown["results/digits/report/pruning.html"]["data_uri"].partition("base64,")[2]).decode()
    assert "How often the label is among the best k classes" in pruning and "data:image/svg+xml;base64," in pruning
    assert "recall %" in pruning and "Rivals (model: the classifier)" in pruning  # what the columns say


@needs_chromium
def test_the_report_works_in_a_browser_without_a_network(report, results, tmp_path):
    with browser(tmp_path) as page:
        page.open(report.as_uri())
        front = page.wait("document.querySelector('.front')?.innerText")
        for row in table(results, "accuracy").to_dict("records"):
            assert shown_interval(row, "top1") in front
        for title in page.ask("[...document.querySelectorAll('.front a')].map(link => link.innerText)"):
            page.ask("app.setView({content: 'rulegraph'})")
            page.wait("!document.querySelector('iframe') && !!document.querySelector('.front')")
            link = "[...document.querySelectorAll('.front a')].find(link => link.innerText == "
            page.ask(f"{link}{json.dumps(title)}).click()")
            frame = page.frame()
            assert (
                page.wait("document.readyState == 'complete' && document.querySelector('h1').innerText", frame) == title
            )
            drawn = "document.querySelectorAll(document.querySelector('#table') ? '.dataTable tbody td' : 'img').length"
            assert page.wait(drawn, frame)
        assert not page.leaving() and not page.errors


def test_classes_and_confusions_follow_from_the_predictions(results):
    predictions = pd.read_parquet(results / "predictions/varc/digits.parquet")
    mistakes = predictions[predictions["label"] != predictions["prediction"]]
    classes = table(results, "per_class").query("classifier == 'varc'").set_index("class_id")
    assert (classes["images"] == predictions.groupby("label").size()).all()
    assert (classes["images"] * (1 - classes["top1"])).sum() == pytest.approx(len(mistakes))
    confusion = table(results, "confusion").query("classifier == 'varc'").set_index(["label", "prediction"])["images"]
    assert confusion.to_dict() == mistakes.groupby(["label", "prediction"]).size().to_dict()


# What shares work


def test_classifiers_share_stages(tmp_path):
    project = copy_project(tmp_path / "fresh")
    config = default_config(project)
    del config["ablation"]
    jobs = {}
    for names in (["varc"], ["varc_smoothed"], ["a_varc"], ["varc", "varc_smoothed", "a_varc"]):
        config["evaluate"][0]["classifiers"] = names
        jobs[tuple(names)] = plan(project, "--configfile", write_config(project, config)).jobs
    together = jobs["varc", "varc_smoothed", "a_varc"]
    shared = Counter(train_vqvae=1, train_var=1, manifest=2, gflops=1, accuracy=1)
    for found in jobs.values():
        assert {rule: found[rule] for rule in shared} == shared
    # per shard (2): varc 1; varc_smoothed the same + 4 samples; a_varc 3 scales, 4 scales, 2 samples
    assert jobs["varc",]["score"] == 2
    assert jobs["varc_smoothed",]["score"] == 10
    assert jobs["a_varc",]["score"] == 8
    assert together["score"] == 2 + 8 + 6  # a_varc's first stage reads varc's scores
    # tokens: 2 clean of the test images, 8 of training; smoothed 4 samples, of which a_varc needs 2
    assert [found["tokenize"] for found in jobs.values()] == [10, 18, 14, 18]
    assert [found["encode"] for found in jobs.values()] == [4, 4, 4, 4]


def test_a_fresh_clone_plans_without_torch_and_without_data(tmp_path):
    project = copy_project(tmp_path / "fresh")
    config = default_config(project)
    config["datasets"]["digits"] = {"reader": "image_folder", "root": "absent", "classes": "absent.csv", "size": 8}
    (project / "absent.csv").write_text("folder,class_id,name\na,0,A\n")
    (project / "torch").mkdir()  # found before the real one
    (project / "torch" / "__init__.py").write_text("raise ImportError('torch was imported')")
    (project / "sklearn.py").write_text("raise ImportError('scikit-learn was imported')")
    assert plan(project, "--configfile", write_config(project, config), cold=True).jobs["score"] == 32


# What reruns

LISTED = Counter(per_class=1, confusion=1, pages=1)  # what other predictions rerun


def changed(project, change, *arguments):
    config = default_config(project)
    change(config)
    return plan(project, *arguments, "--configfile", write_config(project, config))


def test_a_second_run_has_nothing_to_do(project):
    run = snakemake(project)
    assert run.code == 0
    assert "Nothing to be done" in run.output


def test_how_and_where_it_is_computed_reruns_nothing(project):
    settings = ["score:batch_size=7", "tokenize:device=cpu", "encode:batch_size=3"]
    assert not plan(project, "--set-resources", *settings).jobs
    assert not plan(project, "--cores", "1", "--set-threads", "train_var=1").jobs


def test_the_order_of_keys_in_the_file_reruns_nothing(project):
    config = default_config(project)
    config["classifiers"] = dict(reversed(config["classifiers"].items()))
    config["evaluate"][0]["classifiers"].reverse()
    (project / "turned.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert not plan(project, "--configfile", "turned.yaml").jobs


def test_a_changed_keep_of_stage_2_does_not_score_stage_1_again(project):
    found = changed(project, lambda config: config["classifiers"]["a_varc"]["funnel"][1].update(keep=2))
    assert found.jobs == Counter(prune=2, score=4, predict=1, gflops=1, accuracy=1, cost=1, ablation=1) + LISTED
    assert all("3x1-keep5.4x1-keep2" in file for file in found.files if "/scores/" in file or "/candidates/" in file)


def test_more_samples_score_the_new_ones_only(project):
    found = changed(project, lambda config: config["classifiers"]["varc_smoothed"]["funnel"][0].update(samples=7))
    assert found.jobs == Counter(tokenize=4, score=4, predict=1, gflops=1, accuracy=1, cost=1, ablation=1) + LISTED
    assert sorted(file.split("/")[-2] for file in found.files if "/scores/" in file) == (
        ["sigma0.2spread-5"] * 2 + ["sigma0.2spread-6"] * 2
    )


def test_another_classifier_on_the_same_model_reuses_tokens_and_stages(project):
    def change(config):
        first = copy.deepcopy(config["classifiers"]["a_varc"]["funnel"][0])
        config["classifiers"]["two_stages"] = {"model": "base", "funnel": [first, {"scales": 4, "keep": 1}]}
        config["evaluate"][0]["classifiers"].append("two_stages")

    assert changed(project, change).jobs == Counter(predict=1, gflops=1, accuracy=1, cost=1, ablation=1) + LISTED


SCORING = Counter(score=32, prune=8, predict=6, pruning=1, accuracy=1, cost=1, ablation=1) + LISTED
EDITS = {
    "varc/scoring/likelihood.py": SCORING + Counter(train_var=1, finetune=1, sample=2),  # training validates by scores
    "varc/scoring/funnel.py": SCORING + Counter(gflops=1),
    "varc/metrics/accuracy.py": Counter(gflops=1, pruning=1, accuracy=1, cost=1, ablation=1) + LISTED,
    "varc/metrics/plots.py": Counter(pruning=1, pages=1),
    "varc/report/front.py": Counter(pages=1),
    "varc/costs/models.py": Counter(gflops=1, pruning=1, accuracy=1, cost=1, ablation=1, pages=1),
    "varc/models/var.py": Counter(train_var=1, finetune=1, sample=2, gflops=1) + SCORING,  # no image is encoded again
    "varc/training/var.py": Counter(train_var=1, finetune=1, sample=2) + SCORING,
    "varc/training/cca.py": Counter(finetune=1, sample=1, pruning=1, accuracy=1, cost=1, ablation=1)
    + Counter(score=16, prune=4, predict=3)
    + LISTED,
}


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_of_the_library_reruns_what_depends_on_it(project, file):
    path = project / file
    before = path.read_bytes()
    path.write_bytes(before + b"\n# an edit\n")
    try:
        found = plan(project).jobs
    finally:
        path.write_bytes(before)
    assert found == EDITS[file]
    assert not plan(project).jobs  # the same content with a new time stamp


def test_another_run_name_starts_afresh_and_touches_nothing_else(project):
    found = changed(project, lambda config: config.update(run="other"))
    assert found.jobs == plan(project, "--forceall").jobs
    assert all(file.startswith("results/other/") for file in found.files)


def test_another_number_of_shards_is_refused(project):
    config = default_config(project)
    config["shards"] = 3
    run = snakemake(project, "--configfile", write_config(project, config))
    assert run.code != 0
    assert "shards is 3, but results/digits was made with 2" in run.output
    assert not list((project / "results/digits").rglob("2.parquet"))


def test_an_adaptive_funnel_decides_as_the_full_scores_say(project, results):
    """By targets, so that the tables of the default run stay as they are."""
    config = default_config(project)
    config["datasets"]["digits_calibration"] = {"reader": "digits", "split": "calibration"}
    config["classifiers"]["adaptive"] = {
        "model": "base",
        "sigma": {"spread": 0.2},
        "calibrate": "digits_calibration",
        "funnel": [{"adaptive": {"alpha": 0.05, "samples": 3}}],
    }
    config["evaluate"][0]["classifiers"].append("adaptive")
    target = "results/digits/predictions/adaptive/digits.parquet"
    run = snakemake(project, target, "--configfile", write_config(project, config))
    assert run.code == 0, run.output
    folder = results / "scores/base/digits/all"
    files = [
        folder / f"scales4/{n}/{s}.parquet" for n in ("clean", "sigma0.2spread-1", "sigma0.2spread-2") for s in (0, 1)
    ]
    known = read_labelled_scores(results / "datasets/digits.parquet", files)
    found, _, _ = read_adaptive(*[folder / f"adaptive0.05x3s0.2spread-digits_calibration/{s}.parquet" for s in (0, 1)])
    name = "adaptive0.05x3s0.2spread-digits_calibration"
    thresholds = json.loads((results / f"thresholds/base/digits_calibration/{name}.json").read_text())["thresholds"]
    expected = simulate(known.per_scale, known.samples[1:], np.array(thresholds))
    assert (found.steps == expected.steps).all() and (found.samples == expected.samples).all()
    assert np.abs(found.log_likelihood - expected.log_likelihood).max() < 1e-3
    assert 0 < (found.steps < 4).mean() < 1
    predictions = pd.read_parquet(project / target)
    assert (predictions["prediction"] == known.class_ids[final_order(expected)[:, 0]]).all()
    assert (predictions["prediction"] == predictions["label"]).mean() > 0.9


METHODS = ["tmi", "tmi_last", "tmi_randomised", "lime", "kernel_shap", "occlusion", "gradient_shap", "random", "edge"]
EXPLAINED = ["results/digits/tables/explanation.csv", "results/digits/gallery/cca/digits.png"]


def explain_config(project, methods):
    """The default config with maps of few images, judged by the model and by a small network."""
    config = default_config(project)
    config["judges"] = {"cnn": {"data": "digits_train", "steps": 60, "lr": 0.002}}
    who = {"datasets": ["digits"], "models": ["cca"], "images": 30}
    faithfulness = {"steps": 4, "insertion": ["blur", "mean"], "judges": ["cnn"]}
    config["explain"] = [
        {**who, "methods": methods, "target": "prediction", "against": "runner_up", "budget": 20}
        | {"gallery": 2, "faithfulness": faithfulness},
        {
            **who,
            "methods": ["tmi"],
            "target": "label",
            "against": "unconditional",
            "samples": 2,
            "sigma": {"spread": 0.2},
        },
    ]
    return write_config(project, config, "explain.yaml")


@pytest.fixture(scope="module")
def explained(project):
    """By targets, so that the tables of the default run stay as they are."""
    smoothed = [f"results/digits/maps/cca/digits/tmix2s0.2spread/label-vs-unconditional/{s}.parquet" for s in (0, 1)]
    run = snakemake(project, *EXPLAINED, *smoothed, "--configfile", explain_config(project, METHODS))
    assert run.code == 0, run.output
    return project / "results" / "digits"


def read_maps(results, method, pair="prediction-vs-runner_up"):
    files = sorted((results / "maps" / "cca" / "digits" / method / pair).glob("*.parquet"))
    return pd.concat(pd.read_parquet(file) for file in files).set_index("image_id")


def test_explanations_sum_to_differences_of_log_likelihoods(explained):
    maps = read_maps(explained, "tmi")
    assert len(maps) == 30
    scores = pd.concat(pd.read_parquet(explained / f"scores/cca/digits/all/scales4/clean/{s}.parquet") for s in (0, 1))
    scores = scores.set_index(["image_id", "class_id"])["log_likelihood"]
    predictions = pd.read_parquet(explained / "predictions/varc_cca/digits.parquet").set_index("image_id")
    for image_id, row in maps.iterrows():
        known = predictions.loc[image_id]
        assert (row["target"], row["against"]) == (known["prediction"], known["runner_up"])
        assert row["per_token"].sum() == pytest.approx(known["margin"], abs=1e-3)
        difference = scores[image_id, row["target"]] - scores[image_id, row["against"]]
        assert row["per_token"].sum() == pytest.approx(difference, abs=1e-3)
    assert np.allclose(np.stack(maps["map"]), tmi_map(np.stack(maps["per_token"]), (1, 2, 3, 4)).reshape(30, -1))


def test_every_method_explains_the_same_images_and_classes(explained):
    tmi = read_maps(explained, "tmi")
    for method in METHODS:
        found = read_maps(explained, method)
        assert (found[["target", "against"]] == tmi[["target", "against"]]).all(axis=None), method
        assert found["per_token"].isna().all() == (not method.startswith("tmi"))
        assert np.isfinite(np.stack(found["map"])).all() and np.stack(found["map"]).std(1).min() > 0
    assert np.allclose(np.stack(read_maps(explained, "tmi_last")["map"]), np.stack(tmi["per_token"])[:, 14:])


def test_tmi_is_averaged_over_samples(explained):
    def log_prob(role, noise):
        folder = explained / "token_scores" / "cca" / "digits" / role / noise
        return np.stack(pd.concat(pd.read_parquet(folder / f"{s}.parquet") for s in (0, 1))["log_prob"])

    noises = ("clean", "sigma0.2spread-1")
    expected = np.mean([log_prob("label", n) - log_prob("unconditional", n) for n in noises], axis=0)
    found = np.stack(read_maps(explained, "tmix2s0.2spread", "label-vs-unconditional")["per_token"])
    assert np.allclose(found, expected, atol=1e-5)


def test_the_table_of_faithfulness(explained):
    found = table(explained, "explanation")
    assert len(found) == len(METHODS) * 2 * 3  # judges; curve and substrate
    assert (found["images"] == 30).all() and (found["temperature"] == 1).all()
    varc = found[found["judge"] == "varc"].set_index(["curve", "substrate", "method"]).sort_index()
    passes = varc.loc["insertion", "blur"]["passes_per_image"]
    assert passes.to_dict() == {
        **dict.fromkeys(["tmi", "tmi_last", "tmi_randomised"], 2),
        **dict.fromkeys(["lime", "kernel_shap"], 40),
        **{"occlusion": 34, "gradient_shap": 20, "random": 0, "edge": 0},
    }
    assert (varc["judge_agrees"] == 1.0).all()  # the target is the judge's own prediction
    random = varc.xs("random", level="method")
    assert random["vs_random"].isna().all() and varc.drop("random", level="method")["vs_random"].notna().all()
    occlusion, chance = (varc.loc["insertion", "mean"].loc[m, "auc"] for m in ("occlusion", "random"))
    assert occlusion > chance  # what the model itself says of each patch helps it
    assert varc.loc[("insertion", "blur", "tmi"), "paper_auc"] == 0.944
    assert varc["rank_correlation"].xs("tmi_randomised", level="method").abs().max() < 0.5
    curves = pd.read_parquet(explained / "curves/cca/digits/tmi/prediction-vs-runner_up/varc/0.parquet")
    scores = np.stack(curves["scores"]).reshape(len(curves), 5, 10)
    ends = curves.assign(first=list(scores[:, 0]), last=list(scores[:, -1])).set_index(
        ["curve", "substrate", "image_id"]
    )
    whole = ends.loc["insertion", "blur"]["last"]
    assert np.allclose(np.stack(whole), np.stack(ends.loc["deletion", "mean"]["first"][whole.index]), atol=1e-3)


def test_the_gallery_shows_right_and_wrong_predictions(explained):
    predictions = pd.read_parquet(explained / "predictions/varc_cca/digits.parquet").set_index("image_id")
    known = predictions.loc[read_maps(explained, "tmi").index]
    right = (known["prediction"] == known["label"]).sum()
    shown = min(right, 2) + min(len(known) - right, 4)  # gallery: 2; of wrong ones with small margins and with large
    picture = np.asarray(Image.open(explained / "gallery/cca/digits.png").convert("RGB"))
    log = (explained / "logs/gallery/cca/digits.log").read_text()
    assert f"{shown} images" in log and 200 * shown < picture.shape[0] < 300 * shown  # titles take more lines or fewer
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 200


def test_a_new_method_runs_alone(project, explained):
    found = plan(project, *EXPLAINED, "--configfile", explain_config(project, [*METHODS, "centre"])).jobs
    assert found == {"control": 2, "faithfulness": 4, "explanation": 1}


# What breaks


def failure(project, *targets):
    """A run that must fail: its output, without a Python traceback."""
    run = snakemake(project, *targets)
    assert run.code != 0
    assert "Traceback" not in run.output
    return run.output


def test_a_truncated_file_of_an_earlier_stage_is_named(project, results):
    path = results / "scores/base/digits/all/scales4/clean/0.parquet"
    target = results / "candidates/base/digits/3x1-keep5/0.parquet"
    whole, before = path.read_bytes(), target.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        output = failure(project, "results/digits/candidates/base/digits/3x1-keep5/0.parquet")
        assert "results/digits/scores/base/digits/all/scales4/clean/0.parquet: damaged" in output
        assert target.read_bytes() == before  # as it was, and as out of date
    finally:
        path.write_bytes(whole)
    assert snakemake(project).code == 0
    assert target.read_bytes() == before


def test_weights_that_are_not_finite_are_named(project, results):
    path = results / "models/base/var.safetensors"
    whole, card = path.read_bytes(), card_path(path).read_bytes()
    scores = results / "scores/base/digits/all/scales4/clean/1.parquet"
    before, state = scores.read_bytes(), load_file(path)
    save_file({**state, "head.bias": torch.full_like(state["head.bias"], torch.nan)}, path)
    write_json(card_path(path), {**read_json(card_path(path)), "sha256": file_sha256(path)})
    try:
        output = failure(project, "results/digits/scores/base/digits/all/scales4/clean/1.parquet")
        assert "var.safetensors: 1 tensors hold NaN or infinity, first head.bias" in output
        assert scores.read_bytes() == before
    finally:
        path.write_bytes(whole)
        card_path(path).write_bytes(card)
