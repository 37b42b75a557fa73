import subprocess
import sys

import numpy as np
import pytest
import torch
from parity import models, reference
from PIL import Image
from safetensors.torch import save_file

from varc.data.manifest import Listed, load_images
from varc.errors import InputError
from varc.explain.one import explain_image, load_models
from varc.explain.pixels import given_settings, model_pixels

NAMES = {3: "cat", 7: "dog", 9: "bird"}


@pytest.fixture(scope="module")
def image():
    return Image.fromarray(reference()["images"][0])


def log_likelihoods():
    return reference()["log_prob_per_scale"].sum(-1)[0]


def test_prediction_and_runner_up_are_the_candidates_best(image):
    found = explain_image(image, *models(), names=NAMES, device="cpu")
    log_p = log_likelihoods()
    best = sorted(NAMES, key=lambda class_id: -log_p[class_id])
    assert [found.target, found.against] == best[:2]
    assert found.per_token.sum() == pytest.approx(log_p[best[0]] - log_p[20], abs=2e-2)
    assert found.contrast.sum() == pytest.approx(log_p[best[0]] - log_p[best[1]], abs=2e-2)
    assert f"log p(x|{NAMES[best[0]]}) = {log_p[best[0]]:.0f}"[:-2] in found.summary
    titles = [axes.get_title() for axes in found.figure.axes]
    assert titles[0] == NAMES[best[0]] and titles[-2].startswith("scale 10: 16x16")
    limits = {drawn.get_clim() for axes in found.figure.axes[1:] for drawn in axes.images}
    assert len(limits) == 1 and next(iter(limits))[0] == -next(iter(limits))[1]


def test_a_class_against_no_class_needs_no_candidates(image):
    found = explain_image(image, *models(), target=7, against="unconditional", device="cpu")
    assert (found.target, found.against) == (7, -1)
    assert np.array_equal(found.per_token, found.contrast)
    expected = reference()["log_prob_per_token"][0, 7] - reference()["log_prob_per_token"][0, 20]
    assert np.abs(found.per_token - expected).max() < 1e-3


def test_models_that_can_only_infer_are_enough(image):
    with torch.inference_mode():
        inference_only = models.__wrapped__()
    found = explain_image(image, *inference_only, target=7, against=3, device="cpu")
    assert found.contrast.sum() == pytest.approx(log_likelihoods()[7] - log_likelihoods()[3], abs=2e-2)


def test_mistakes_are_named(image, tmp_path):
    with pytest.raises(InputError, match="class 20: the model knows 0 to 19 only"):
        explain_image(image, *models(), target=20, against="unconditional", device="cpu")
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(InputError, match=r"a\.png: unreadable image"):
        model_pixels(tmp_path / "a.png", 256)


def test_other_sizes_are_resized_and_cropped_as_in_evaluation(image):
    assert np.array_equal(model_pixels(image, 256), reference()["images"][0])
    assert model_pixels(image, 64).shape == (64, 64, 3)
    assert model_pixels(Image.new("L", (300, 500), 9), 64).tolist() == np.full((64, 64, 3), 9).tolist()


@pytest.mark.parametrize(
    "settings",
    [{"size": 8}, {"size": 8, "resize": "none"}, {"size": 8, "resize": 11}, {"size": 8, "resize": 16, "border": 3}],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16"])
def test_a_picture_is_prepared_as_the_images_of_a_data_set(tmp_path, mode, settings):
    levels = np.random.default_rng(0).integers(0, 65536, (30, 21)).astype(np.uint16)
    picture = (
        Image.fromarray(levels) if mode == "I;16" else Image.fromarray((levels >> 8).astype(np.uint8)).convert(mode)
    )
    picture.save(tmp_path / "a.png")
    spec = {"reader": "image_folder", "root": str(tmp_path), **settings}
    expected = load_images(spec, [Listed("a.png", 0, str(tmp_path / "a.png"))], 8)[0]
    shifted = settings | {"shift": {"name": "inverted", "severity": 1}}  # of a data set's images, not of this one
    for given in (settings, shifted):
        assert np.array_equal(model_pixels(tmp_path / "a.png", 8, given), expected)
        assert np.array_equal(model_pixels(Image.open(tmp_path / "a.png"), 8, given), expected)


def test_settings_that_do_not_fit_are_named(image, tmp_path):
    assert given_settings(None, None, None) is None
    assert given_settings(8, 16, 0) == {"size": 8, "resize": 16, "border": 0}
    with pytest.raises(InputError, match="the image: 9x9 pixels, but the model takes 8x8"):
        model_pixels(image, 8, {"size": 9})
    with pytest.raises(InputError, match="the image: 256x256 pixels, of which border 128 leaves none"):
        model_pixels(image, 8, {"size": 8, "border": 128})
    assert given_settings(8, "none", None) == {"size": 8, "resize": "none"}
    with pytest.raises(InputError, match="the image: 256x256 pixels, less than size 300, and resize is none"):
        model_pixels(image, 300, {"size": 300, "resize": "none"})
    for given, message in [
        ((None, "none", None), "resize none and size absent"),
        ((None, 16, None), "resize 16 and size absent; resize needs a size, and must be none or at least"),
        ((8, 7, None), "resize 7 and size 8"),
        ((0, None, None), "size: 0 is not a whole number from 1 on"),
        ((None, None, -1), "border: -1 is not a whole number from 0 on"),
    ]:
        with pytest.raises(InputError, match=message):
            given_settings(*given)


def test_the_command_line(image, tmp_path):
    for name, model in zip(("vqvae", "var"), models(), strict=True):
        save_file({key: t.contiguous() for key, t in model.state_dict().items()}, tmp_path / f"{name}.safetensors")
    image.save(tmp_path / "a.png")
    weights = ["--vqvae", tmp_path / "vqvae.safetensors", "--var", tmp_path / "var.safetensors"]
    command = [sys.executable, "-m", "varc", "explain", tmp_path / "a.png", *weights, "--target", "7", "--against", "3"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "log p(x|class 7) = " in done.stdout
    picture = np.asarray(Image.open(tmp_path / "a_explained.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000
    for more, message in [
        (["--target", "99"], "error: class 99"),
        (["--run", "results/r", "--size", "8"], "error: vqvae: the run says it; leave it out"),
    ]:
        done = subprocess.run([*map(str, command[:-4]), *more], capture_output=True, text=True)
        assert done.returncode != 0 and "Traceback" not in done.stderr and message in done.stderr


def test_models_are_told_by_their_cards(tmp_path):
    for name, model in zip(("vqvae", "var"), models(), strict=True):
        save_file({key: t.contiguous() for key, t in model.state_dict().items()}, tmp_path / f"{name}.safetensors")
    vqvae, var = load_models(tmp_path / "vqvae.safetensors", tmp_path / "var.safetensors")
    assert (vqvae.config, var.config) == (models()[0].config, models()[1].config)
