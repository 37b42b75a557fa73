"""The pictures of a run get the run's scores, by the library and by the command."""

import json
import os
import re
import shutil

import nbformat
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from classify_runs import CONFIG, add_pictures
from nbclient import NotebookClient
from PIL import Image
from snakemake_runs import ROOT, copy_project, python, snakemake, write_config

import varc
from varc.data.found import Found
from varc.data.readers import open_images
from varc.errors import InputError
from varc.explain.one import explain_image, load_models
from varc.scoring.adaptive import read_adaptive
from varc.seal import read_json, write_json

pytestmark = pytest.mark.long  # a run of two minutes


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished run."""
    folder = copy_project(tmp_path_factory.mktemp("classify") / "project")
    add_pictures(folder)
    run = snakemake(folder, "--configfile", write_config(folder, CONFIG, "small.yaml"))
    assert run.code == 0, run.output
    return folder


NAMES = ("varc", "smoothed", "funnel", "weighted", "guided", "adaptive", "vae", "logistic")


def predicted(project, classifier, dataset="pictures"):
    return pd.read_parquet(project / f"results/r/predictions/{classifier}/{dataset}.parquet").set_index("image_id")


def paths_of(project, dataset="pictures"):
    manifest = pd.read_parquet(project / f"results/r/datasets/{dataset}.parquet")
    return [project / path for path in manifest["path"]], manifest["image_id"].tolist()


def load(project, classifier, dataset="pictures"):
    """A classifier of the run, for pictures like those of a data set."""
    several = classifier in ("varc", "funnel")  # which are evaluated on both
    return varc.load(project / "results/r", classifier, dataset=dataset if several else None, device="cpu")


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("classifier", NAMES)
def test_a_picture_of_the_run_gets_the_runs_score(project, classifier):
    """Prediction, score, runner-up and margin, and the same for any order and number of pictures at a time."""
    expected, (paths, ids) = predicted(project, classifier), paths_of(project)
    found = load(project, classifier).classify(paths[::-1], top=10)
    assert [one.image_id for one in found] == ids[::-1] and len(ids) == 20
    for one in found:
        row = expected.loc[one.image_id]
        near(one.prediction.log_likelihood, row["score"])
        assert one.prediction.class_id == row["prediction"]
        assert one.prediction.name == f"digit {one.prediction.class_id}"
        assert len(one.classes) == 10 and len({c.class_id for c in one.classes}) == 10
        if np.isnan(row["margin"]):
            assert one.margin is None and one.prediction.probability is None
        else:
            assert one.margin == pytest.approx(row["margin"], abs=2e-5 * abs(row["score"]))
            assert one.classes[1].class_id == row["runner_up"]
    one = load(project, classifier).classify(paths[3])
    assert one[0].image_id == ids[3] and len(one[0].classes) == 5
    near(one[0].prediction.log_likelihood, expected.loc[ids[3], "score"])


@pytest.mark.parametrize("classifier", ["varc", "guided", "logistic"])
def test_all_classes_get_the_scores_of_the_runs_files(project, classifier):
    folder = {"varc": "base/pictures/all/scales4/clean", "guided": "base/pictures/all/scales4-cfg1.5/clean"}
    scores = pd.read_parquet(project / f"results/r/scores/{folder.get(classifier, 'pixels/pictures/all/plain')}")
    scores = scores.set_index(["image_id", "class_id"])["log_likelihood"]
    for one in load(project, classifier).classify(paths_of(project)[0], top=10):
        near([c.log_likelihood for c in one.classes], [scores[one.image_id, c.class_id] for c in one.classes])
        assert all(c.fell_at is None for c in one.classes)
        assert sum(c.probability for c in one.classes) == pytest.approx(1)


@pytest.mark.parametrize(("classifier", "spelled"), [("funnel", ""), ("weighted", "w-early")])
def test_a_class_falls_where_the_run_dropped_it(project, classifier, spelled):
    below = project / "results/r/candidates/base/pictures"
    first, second = f"2x1{spelled}-keep5", f"2x1{spelled}-keep5.4x1{spelled}-keep3"
    kept = [
        pd.read_parquet(below / name / "0.parquet").groupby("image_id")["class_id"].agg(set) for name in (first, second)
    ]
    for one in load(project, classifier).classify(paths_of(project)[0], top=10):
        stages = {c.class_id: c.fell_at for c in one.classes}
        assert {c for c, fell in stages.items() if fell is None} == kept[1][one.image_id]
        assert {c for c, fell in stages.items() if fell == 2} == kept[0][one.image_id] - kept[1][one.image_id]
        assert [c.fell_at for c in one.classes] == [None] * 3 + [2] * 2 + [1] * 5
        assert [c.probability is None for c in one.classes] == [False] * 3 + [True] * 7


def test_an_adaptive_funnel_drops_classes_at_the_scales_of_the_run(project):
    file = next((project / "results/r/scores/base/pictures/all").glob("adaptive*/0.parquet"))
    expected, class_ids, ids = read_adaptive(file)
    where = {class_id: i for i, class_id in enumerate(class_ids)}
    found = load(project, "adaptive").classify(paths_of(project)[0], top=10)
    assert [one.image_id for one in found] == ids.tolist()
    for i, one in enumerate(found):
        order = [where[c.class_id] for c in one.classes]
        near([c.log_likelihood for c in one.classes], expected.log_likelihood[i][order])
        fell = [None if expected.samples[i][j] else int(expected.steps[i][j]) for j in order]
        assert [c.fell_at for c in one.classes] == fell


@pytest.mark.parametrize("classifier", ["varc", "funnel"])
def test_images_that_are_no_files_are_known_by_their_ids(project, classifier):
    """Those of the digits: by ids beside pictures or arrays, and by their image_ids alone."""
    expected, (_, ids) = predicted(project, classifier, "digits"), paths_of(project, "digits")
    opened = open_images({"reader": "digits", "split": "test"})
    images = [opened(Found(image_id, "", "")) for image_id in ids]
    loaded = load(project, classifier, "digits")
    for given, own in ((images, ids), (list(map(np.asarray, images)), ids), (ids, None)):
        found = loaded.classify(given, ids=own)
        near([one.prediction.log_likelihood for one in found], expected.loc[ids, "score"])
    if classifier == "funnel":  # noise is drawn by the id alone
        other = loaded.classify(images)
        assert all(one.image_id.startswith("sha256:") for one in other)
        assert any(abs(a.margin - b.margin) > 1e-3 for a, b in zip(found, other, strict=True))
        again = loaded.classify(images[::-1])[::-1]
        near([one.margin for one in other], [one.margin for one in again])


def test_probabilities_are_calibrated_where_the_run_has_a_temperature(project):
    table = pd.read_csv(project / "results/r/tables/calibration.csv").set_index(["dataset", "classifier"])
    for name in NAMES:
        loaded = load(project, name)
        (one,) = loaded.classify(paths_of(project)[0][:1])
        assert one.calibrated == (name in ("varc", "logistic")), name
        if one.calibrated:
            assert loaded.temperature == pytest.approx(table.loc[("pictures", name), "temperature"], rel=1e-6)
            ratio = np.log(one.classes[0].probability / one.classes[1].probability)
            assert ratio == pytest.approx(one.margin / loaded.temperature)
            assert "at temperature" in loaded.probability
        else:
            assert "not calibrated" in loaded.probability


def test_weights_alone_give_the_same_scores(project):
    """The same models, funnel and noise, without the run; settings are those of the run's pictures."""
    expected, (paths, ids) = predicted(project, "funnel"), paths_of(project)
    weights = {part: project / f"results/r/models/base/{part}.safetensors" for part in ("vqvae", "var")}
    settings = {"size": 8, "resize": 10, "border": 1, "sigma": {"spread": 0.3}, "seed": 3, "device": "cpu"}
    funnel = "2x1-keep5 4x1-keep3 4x3"
    loaded = varc.load(**weights, classes=project / "classes.csv", funnel=funnel, **settings)
    found = loaded.classify(paths, ids=ids)
    near([one.prediction.log_likelihood for one in found], expected.loc[ids, "score"])
    assert not found[0].calibrated
    other = varc.load(**weights, classes=project / "classes.csv", funnel=funnel, **settings | {"seed": 4})
    assert any(abs(a.margin - b.margin) > 1e-3 for a, b in zip(found, other.classify(paths, ids=ids), strict=True))


def test_an_explanation_is_that_of_the_runs_picture(project):
    paths, _ = paths_of(project)
    loaded = load(project, "varc")
    found = loaded.explain(paths[0])
    models = load_models(*(project / f"results/r/models/base/{part}.safetensors" for part in ("vqvae", "var")))
    expected = explain_image(paths[0], *models, device="cpu", settings={"size": 8, "resize": 10, "border": 1})
    assert (found.target, found.against) == (expected.target, expected.against)
    near(found.per_token, expected.per_token)
    scores = pd.read_parquet(project / "results/r/scores/base/pictures/all/scales4/clean/0.parquet")
    scores = scores.set_index(["image_id", "class_id"])["log_likelihood"]
    near(found.log_likelihoods[:2], [scores["0/1.png", found.target], scores["0/1.png", found.against]])
    assert loaded.explain(paths[0], target=3, against="unconditional").against == -1
    with pytest.raises(InputError, match="class 10: the model knows 0 to 9 only"):
        loaded.explain(paths[0], target=10)
    with pytest.raises(InputError, match="the classifier is a rival, which has no tokens to explain"):
        load(project, "vae").explain(paths[0])


def test_a_run_may_lie_elsewhere_and_be_read_from_anywhere(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected, (paths, ids) = predicted(project, "funnel"), paths_of(project)
    shutil.copytree(project / "results/r", tmp_path / "results/renamed")
    for name in ("data", "classes.csv"):
        (tmp_path / name).symlink_to(project / name)
    loaded = varc.load("results/renamed", "funnel", dataset="pictures", device="cpu")
    near(loaded.classify(paths[0])[0].prediction.log_likelihood, expected.loc[ids[0], "score"])
    near(loaded.classify("data/0/1.png")[0].prediction.log_likelihood, expected.loc["0/1.png", "score"])


# mistakes


def refused(words, *arguments, **given):
    with pytest.raises(InputError) as error:
        varc.load(*arguments, **given)
    assert words in str(error.value), error.value


def test_what_a_run_has_not_is_named_with_what_it_has(project, tmp_path):
    run = project / "results/r"
    refused(
        "has no classifier 'a_varc'; it has adaptive, funnel, guided, logistic, smoothed, vae, varc, weighted",
        run,
        "a_varc",
    )
    refused("has the classifiers adaptive, funnel", run)
    refused("data sets digits and pictures differ in classes, size, resize, border; say by dataset", run, "varc")
    refused("the classifier has no data set 'other'; it has digits, pictures", run, "varc", dataset="other")
    refused("no such folder; give that of a run, results/<run>; there are r", project / "results/absent", "varc")
    refused("is no folder of a run", tmp_path, "varc")
    refused("size: the run says it; leave it out", run, "varc", size=8)
    refused("classifier: 'varc' is a run's", None, "varc")
    refused("var is missing; give a run and a classifier, or", vqvae=run / "models/base/vqvae.safetensors")


def test_a_picture_that_does_not_fit_is_named(project, tmp_path):
    loaded = load(project, "varc", "digits")
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    for path, words in (("a.png", "9x9 pixels, but the model takes 8x8"), ("b.png", "unreadable image")):
        with pytest.raises(InputError) as error:
            loaded.classify(tmp_path / path)
        assert words in str(error.value) and path in str(error.value)
    for top in (0, 1.5, True):
        with pytest.raises(InputError, match=r"top is .*; expected a whole number from 1 on"):
            loaded.classify(tmp_path / "a.png", top=top)


def test_a_run_that_is_not_what_it_was_is_refused(project, tmp_path):
    for name in ("results", "data"):
        shutil.copytree(project / name, tmp_path / name)
    (tmp_path / "classes.csv").write_text((project / "classes.csv").read_text().replace("digit 3", "three"))
    run = tmp_path / "results/r"
    refused("classes.csv: is not what it was since", run, "varc", dataset="pictures")
    (tmp_path / "classes.csv").unlink()
    refused("classes.csv: no such file, which", run, "varc", dataset="pictures")
    shutil.copy(project / "classes.csv", tmp_path)
    thresholds = next((run / "thresholds").rglob("*.json"))
    write_json(thresholds, read_json(thresholds) | {"var_sha256": "0" * 64})
    refused("var_sha256 is 000000000000, but that of", run, "adaptive")
    content = (run / "models/base/var.safetensors").read_bytes()
    (run / "models/base/var.safetensors").write_bytes(content[:-4] + b"0000")
    refused("its SHA-256 is not the one in var.json", run, "guided")
    (run / "models/base/var.safetensors").unlink()
    refused("var.safetensors", run, "guided")
    (run / "classifiers.json").write_text("{}")
    refused("classifiers.json: damaged", run, "guided")
    (run / "classifiers.json").unlink()
    refused(
        "classifiers.json: no such file, since an earlier version made the run; run its config again", run, "guided"
    )


# the command


def command(project, *arguments, **options):
    return python(project, ["-m", "varc", *arguments], **options)


def test_varc_classify(project):
    options = ["--run", "results/r", "--classifier", "funnel", "--dataset", "pictures", "--device", "cpu"]
    shown = command(project, "classify", "data/0/1.png", "data/7/2.png", *options)
    assert shown.code == 0, shown.output
    lines = shown.output.splitlines()
    assert lines[0].startswith("data/0/1.png: digit ") and lines[0].endswith(" nats ahead")
    assert lines[1].split() == ["class_id", "name", "log_likelihood", "probability", "fell_at"]
    assert lines[7].startswith("data/7/2.png: digit ") and lines[-1].startswith("probability: softmax over the classes")
    told = command(project, "classify", "data/0/1.png", "7/2.png", *options, "--json", "--top", "2")
    assert told.code == 0, told.output
    found = json.loads(told.output)
    expected = predicted(project, "funnel")
    for one in found:
        near(one["prediction"]["log_likelihood"], expected.loc[one["image_id"], "score"])
        assert len(one["classes"]) == 2 and one["classes"][0] == one["prediction"] and one["calibrated"] is False
    assert [one["image_id"] for one in found] == ["0/1.png", "7/2.png"]


def test_varc_explain(project):
    shown = command(
        project, "explain", "data/3/1.png", "--run", "results/r", "--classifier", "guided", "--output", "shown.png"
    )
    assert shown.code == 0 and "log p(x|digit " in shown.output, shown.output
    assert len(np.unique(np.asarray(Image.open(project / "shown.png").convert("RGB")).reshape(-1, 3), axis=0)) > 100


def test_varc_show(project):
    shown = command(project, "show", "results/r")
    assert shown.code == 0 and "logistic" in shown.output and "more: varc show results/r " in shown.output
    assert shown.output.startswith("results/r/tables/main.csv\n")
    told = json.loads(command(project, "show", "results/r", "accuracy", "calibration", "--json").output)
    table = pd.read_csv(project / "results/r/tables/accuracy.csv")
    assert [row["top1"] for row in told["accuracy"]] == pytest.approx(table["top1"].tolist())
    assert {row["classifier"] for row in told["calibration"]} == {"varc", "logistic"}
    wrong = command(project, "show", "results/r", "acuracy")
    assert wrong.code == 1 and wrong.output.startswith("error: results/r: has no table 'acuracy'; it has accuracy, ")


def test_varc_compare(project):
    """With a run of another funnel, made from copies of the first one's files."""
    config = {**CONFIG, "run": "s", "classifiers": {"varc": CONFIG["classifiers"]["guided"]}}
    config["evaluate"] = [{"datasets": ["pictures"], "classifiers": ["varc"]}]
    os.makedirs(project / "results/s/predictions/varc", exist_ok=True)
    (project / "results/s/config.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(project / "results/r/datasets", project / "results/s/datasets", dirs_exist_ok=True)
    shutil.copytree(
        project / "results/r/predictions/guided", project / "results/s/predictions/guided", dirs_exist_ok=True
    )
    shown = command(project, "compare", "results/r", "results/s")
    assert shown.code == 0 and "guided" in shown.output, shown.output
    told = json.loads(command(project, "compare", "results/r", "results/s", "--json").output)
    (row,) = told["pairs"]
    assert (row["classifier"], row["images"], row["difference"], row["p"]) == ("guided", 20, 0, 1)
    assert "classifiers.varc.funnel" in {key["key"] for key in told["config"]}
    same = command(project, "compare", "results/r", "results/r")
    assert same.code == 0 and "keys of the configs that differ: 0" in same.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("classify absent.png --run results/r --classifier guided", "error: absent.png: no such file, nor an image_id"),
        ("classify data/0/1.png --run results/r --classifier x", "it has adaptive, funnel, guided"),
        ("classify data/0/1.png --run results/x --classifier x", "no such folder; give that of a run"),
        ("classify data/0/1.png --run results/r --classifier guided --top 0", "error: top is 0"),
        ("explain data/0/1.png --run results/r --classifier vae", "error: the classifier is a rival"),
        ("explain data/0/1.png --run results/r --classifier guided --against x", "error: --against: 'x'"),
        ("compare results/r results/x", "error: results/x: no such folder"),
        ("show results", "error: results: has no tables"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(project, arguments, words):
    shown = command(project, *arguments.split())
    assert shown.code == 1 and words in shown.output and len(shown.output.splitlines()) == 1, shown.output


def test_the_columns_of_predictions_are_those_of_the_docs(project):
    text = (ROOT / "docs/library.md").read_text().partition("## Columns of predictions")[2]
    documented = re.findall(r"^\| `([^`]+)` \| (\w+) \|", text, re.M)
    schema = pq.read_schema(project / "results/r/predictions/funnel/pictures.parquet")
    found = [(re.sub(r"(?<=^rank_stage)\d+$", "<i>", field.name), str(field.type)) for field in schema]
    assert list(dict.fromkeys(found)) == documented and len(found) == len(documented) + 2


def test_the_example_notebook_classifies_explains_and_reads(project, monkeypatch):
    notebook = nbformat.read(ROOT / "notebooks/example.ipynb", as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)  # committed without
    notebook.cells.append(nbformat.v4.new_code_cell("[(one.image_id, one.prediction.log_likelihood) for one in found]"))
    monkeypatch.setenv("VARC_RUN", str(project / "results/r"))
    monkeypatch.setenv("VARC_CLASSIFIER", "funnel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    *_, picture, scores = [output.data for output in outputs if "data" in output]
    assert "image/png" in picture
    expected = predicted(project, "funnel", "digits").assign(wrong=lambda t: t["label"] != t["prediction"])
    surest = expected[expected["wrong"]].sort_values("margin", ascending=False).head(3)
    found = dict(eval(scores["text/plain"], {"np": np}))
    assert list(found) == list(surest.index) and len(found) == 3
    near(list(found.values()), surest["score"])
