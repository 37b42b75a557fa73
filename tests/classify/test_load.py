"""Classifiers of weights, without a run: those of the glyphs."""

import numpy as np
import pytest
import torch
from snakemake_runs import ROOT

import varc
from varc.data.found import Found
from varc.data.readers import open_images
from varc.errors import InputError
from varc.explain.pixels import model_pixels
from varc.models.pair import load_pair
from varc.scoring.likelihood import score
from varc.scoring.smoothing import encode, tokenize

CPU = torch.device("cpu")
VQVAE, VAR = (ROOT / f"weights/glyphs/{part}.safetensors" for part in ("vqvae", "var"))
CLASSES = ROOT / "data/glyphs/classes.csv"
IDS = ["glyphs.parquet:000000", "glyphs.parquet:000041"]


@pytest.fixture(scope="module")
def images():
    root = ROOT / "data/glyphs/test"
    opened = open_images({"reader": "parquet", "root": str(root), "classes": str(CLASSES), "size": 32})
    return [opened(Found(image_id, "", str(root / "glyphs.parquet"))) for image_id in IDS]


def load(**given):
    return varc.load(vqvae=VQVAE, var=VAR, device="cpu", **given)


@pytest.mark.parametrize("samples", [1, 2])
def test_scores_are_those_of_the_engine(images, samples):
    """Of all classes at three scales: the mean over samples, whose noise is drawn by ids and seed."""
    found = load(classes=CLASSES, funnel=f"3x{samples}", sigma=0.05, seed=7).classify(images, top=100, ids=IDS)
    pair = load_pair(VQVAE, VAR)
    pixels = np.stack([model_pixels(image, 32) for image in images])
    features = encode(pair.vqvae, pixels, 2, CPU)
    expected = []
    for sample in range(samples):
        how = {"sample": sample, "sigma": 0.05, "seed": 7, "batch_size": 2, "device": CPU}
        tokens = tokenize(pair.vqvae.quantize, features, IDS, **how)[:, :14]
        candidates = np.tile(np.arange(100, dtype=np.int32), (2, 1))
        expected.append(score(pair.var, pair.vqvae.quantize, tokens, candidates, device=CPU).sum(-1))
    for one, scores in zip(found, np.mean(expected, axis=0), strict=True):
        assert [c.class_id for c in one.classes] == np.argsort(-scores, kind="stable").tolist()
        np.testing.assert_allclose([c.log_likelihood for c in one.classes], np.sort(scores)[::-1], rtol=1e-6)
        assert not one.calibrated and sum(c.probability for c in one.classes) == pytest.approx(1)


def test_some_classes_are_candidates_and_all_without_a_list(images, tmp_path):
    (tmp_path / "some.csv").write_text("folder,class_id,name\nx,0,first\ny,92,second\n")
    (one,) = load(classes=tmp_path / "some.csv").classify(images[0])
    assert [(c.class_id, c.name) for c in one.classes] == [(0, "first"), (92, "second")]
    (one,) = load().classify(images[0], top=1000)
    assert len(one.classes) == 100 and one.prediction.name == "class 0" and one.image == "image 0"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"classes": "absent.csv"}, "absent.csv: the class list cannot be read"),
        ({"classes": "wrong.csv"}, "wrong.csv, line 2: expected the columns folder, class_id, name, found a, b"),
        ({"classes": "more.csv"}, "class_id 100 is in the class list, but the model knows 0 to 99 only"),
        ({"funnel": "6x1"}, "funnel: 0: scales is 6, but the model has 5"),
        ({"funnel": "5x3"}, "sigma is missing: the funnel has a stage of 3 samples"),
        ({"funnel": "5x3", "sigma": 0}, "sigma is 0; expected a number above 0, or {spread: a number above 0}"),
        ({"funnel": "5x3", "sigma": "0.1"}, "sigma is '0.1'; expected a number"),
        ({"seed": -1}, "seed is -1; expected a whole number from 0 on"),
        ({"preprocess": "clip"}, "preprocess is 'clip'; expected var or adm or imagenet"),
        ({"preprocess": "adm"}, "preprocess adm, size absent, resize None: it takes a size"),
        ({"preprocess": "adm", "size": 32, "resize": 36}, "preprocess adm, size 32, resize 36: it takes no resize"),
        ({"funnel": [{"scales": 5, "guidance": "1"}]}, "funnel: guidance is '1'; expected a number above 0"),
        ({"funnel": [{"scales": 3, "keep": 9, "guidance": 1.5}, {"scales": 5}]}, "0: guidance goes with one stage"),
        ({"funnel": [{"adaptive": {"alpha": 0.1}}]}, "funnel: adaptive: it takes thresholds from a run"),
        ({"funnel": "5x1-fp8"}, "funnel: '5x1-fp8': expected <scales>x<samples>-keep<classes>"),
        ({"funnel": "5x1-tf32"}, "precision: tf32: this cpu has no TensorFloat-32"),
        ({"resize": 40}, "resize 40 and size absent; resize needs a size"),
        ({"dataset": "d"}, "dataset: 'd' is a run's; give the folder of the run"),
        ({"device": "cuda"}, "device: cuda was asked for"),
    ],
)
def test_a_mistake_is_named(given, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    (tmp_path / "more.csv").write_text("folder,class_id,name\nx,100,x\n")
    if given.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(InputError) as error:
        varc.load(**{"vqvae": VQVAE, "var": VAR, "device": "cpu", **given})
    assert words in str(error.value)


def test_weights_that_are_no_pair_are_named(tmp_path):
    for files, words in [
        ((tmp_path / "absent.safetensors", VAR), "absent.safetensors"),
        ((VAR, VAR), "var.json: architecture does not describe a VQVAEConfig"),
        ((VQVAE, VQVAE), "vqvae.json: architecture does not describe a VARConfig"),
    ]:
        with pytest.raises(InputError) as error:
            varc.load(vqvae=files[0], var=files[1], device="cpu")
        assert words in str(error.value)
