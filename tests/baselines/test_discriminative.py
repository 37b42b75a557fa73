"""What holds for the ViT and the ResNet alike: training, scores, and Hugging Face folders."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from varc.baselines.discriminative import BATCH
from varc.baselines.family import Images, family, seeded, settings
from varc.baselines.weights import read_baseline, save_baseline
from varc.data.tensors import to_input
from varc.errors import InputError
from varc.files import file_sha256

SIDE, CLASSES = 8, 5
SHAPES = {
    "vit": {"image_size": SIDE, "patch_size": 4, "width": 16, "depth": 2, "heads": 2},
    "resnet": {"image_size": SIDE, "widths": [8, 16], "depths": [1, 1], "large_stem": True},
}
FAMILIES = pytest.mark.parametrize("name", SHAPES)


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


def network(name, seed=0, **changes):
    kind = family(name)
    return kind, seeded(kind.build, settings(kind.Shape, SHAPES[name] | changes), CLASSES, seed)


def scores(kind, model, pixels, candidates=range(CLASSES)):
    ids = np.array([str(i) for i in range(len(pixels))], dtype=object)
    tiled = np.tile(np.array(candidates, np.int32), (len(pixels), 1))
    return kind.score(model, Images(pixels, ids, 0), tiled, kind.Scoring(), None)


def trained(name, seed, pixels, labels, steps=30):
    kind, model = network(name, large_stem=False) if name == "resnet" else network(name)
    kind.train(model, pixels, labels, kind.Training(steps, 16, 0.01), seed, lambda line: None)
    return kind, model


@FAMILIES
def test_scores_are_logits_whatever_the_batch_order_candidates_and_mode(name):
    kind, model = network(name)
    pixels = pictures(BATCH + 3)
    model.train()  # batch statistics must not count
    together = scores(kind, model, pixels)
    with torch.no_grad():
        assert np.allclose(together, model.eval()(to_input(pixels)), atol=1e-5)
    assert together.dtype == np.float64
    assert np.allclose(scores(kind, model, pixels[::-1], [3, 1]), together[::-1, [3, 1]], atol=1e-5)
    assert np.allclose(scores(kind, model, pixels[5:6]), together[5:6], atol=1e-5)


@FAMILIES
def test_a_candidate_beyond_the_classes_is_refused(name):
    with pytest.raises(InputError, match="class_id 7"):
        scores(*network(name), pictures(2), [0, 7])


@FAMILIES
def test_training_learns_and_follows_the_seed(name):
    labels = np.arange(40) % 2 * 3  # classes 0 and 3; 1, 2 and 4 have no images
    pixels = (pictures(40) // 2 + labels[:, None, None, None].astype(np.uint8) * 40).astype(np.uint8)
    kind, model = trained(name, 0, pixels, labels)
    assert not model.training
    assert (scores(kind, model, pixels).argmax(1) == labels).mean() > 0.9
    same, other = (scores(kind, trained(name, seed, pixels, labels)[1], pixels) for seed in (0, 1))
    assert np.array_equal(same, scores(kind, model, pixels)) and not np.allclose(same, other)


@FAMILIES
def test_the_weights_file_holds_all_that_scores_need(name, tmp_path):
    labels = np.arange(40) % CLASSES
    kind, model = trained(name, 0, pictures(40), labels, steps=3)
    shape = SHAPES[name] | ({"large_stem": False} if name == "resnet" else {})
    card = {"architecture": {"family": name, "shape": shape, "num_classes": CLASSES}}
    save_baseline(tmp_path / "net.safetensors", model, card)
    entry = {"family": name, "shape": shape, "train": {}}
    found, _ = read_baseline(kind, entry, tmp_path / "net.safetensors", {})
    assert np.array_equal(scores(kind, found, pictures(9)), scores(kind, model, pictures(9)))


def folder(name, path, **config):
    """A Hugging Face folder of random weights, and its network."""
    kind, model = network(name, seed=3)
    model.net.save_pretrained(path)
    written = json.loads((path / "config.json").read_text()) | config
    (path / "config.json").write_text(json.dumps(written))
    return kind, model, settings(kind.Shape, SHAPES[name])


@FAMILIES
def test_a_folder_is_loaded(name, tmp_path):
    kind, model, shape = folder(name, tmp_path)
    found = kind.load_public(tmp_path, shape, CLASSES)
    assert not found.training and not any(p.requires_grad for p in found.parameters())
    assert np.array_equal(scores(kind, found, pictures(4)), scores(kind, model, pictures(4)))


@FAMILIES
def test_half_precision_weights_are_loaded_as_float32(name, tmp_path):
    kind, _, shape = folder(name, tmp_path, dtype="float16")
    weights = {
        key: t.half() if t.is_floating_point() else t for key, t in load_file(tmp_path / "model.safetensors").items()
    }
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    found = kind.load_public(tmp_path, shape, CLASSES)
    assert {p.dtype for p in found.parameters()} == {torch.float32}


KEY = {"vit": ("hidden_size", 32), "resnet": ("depths", [2, 1])}


@FAMILIES
def test_a_folder_of_another_shape_kind_or_number_of_classes_is_refused(name, tmp_path):
    key, value = KEY[name]
    kind, _, shape = folder(name, tmp_path)
    written = (tmp_path / "config.json").read_text()
    with pytest.raises(InputError, match=r"config.json: the folder's model has 5 classes, but classes: says 6"):
        kind.load_public(tmp_path, shape, CLASSES + 1)
    for changed, message in (
        ({key: value}, rf"{key} is .*, but shape: says"),
        ({"model_type": "swin"}, "model_type is 'swin'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(json.loads(written) | changed))
        with pytest.raises(InputError, match=rf"config.json: {message}"):
            kind.load_public(tmp_path, shape, CLASSES)


@FAMILIES
def test_a_folder_with_files_absent_or_damaged_is_refused(name, tmp_path):
    kind, _, shape = folder(name, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    first = next(key for key in weights if key.endswith("weight"))
    for damaged, message in (
        ({key: t for key, t in weights.items() if key != first}, f"missing, first {first}"),
        (weights | {first: weights[first] * float("nan")}, "NaN"),
        (weights | {first: weights[first][:1].clone()}, "model.safetensors"),
    ):
        save_file(damaged, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(InputError, match=message):
            kind.load_public(tmp_path, shape, CLASSES)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"model.safetensors: the weights cannot be read"):
        kind.load_public(tmp_path, shape, CLASSES)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model.safetensors: no such file"):
        kind.load_public(tmp_path, shape, CLASSES)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json: cannot be read"):
        kind.load_public(tmp_path, shape, CLASSES)


@FAMILIES
def test_public_weights_are_those_that_the_run_began_with(name, tmp_path):
    folder(name, tmp_path)
    entry = {"family": name, "shape": SHAPES[name], "checkpoint": str(tmp_path), "classes": CLASSES}
    began = {str(path): file_sha256(path) for path in sorted(tmp_path.iterdir())}
    kind = family(name)
    _, card = read_baseline(kind, entry, None, began)
    assert len(card["sha256"]) == 64 and len(began) == 2
    for file in began:
        with pytest.raises(InputError, match=rf"{file} has SHA-256 {began[file]}, but {'f' * 64} is expected"):
            read_baseline(kind, entry, None, began | {file: "f" * 64})
