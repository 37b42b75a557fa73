import math
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from varc.data.classes import ClassEntry
from varc.data.manifest import load_images, manifest
from varc.data.preprocess import enlarged, preprocess
from varc.data.tensors import to_input
from workflow.config.data import Digits, ImageFolder
from workflow.config.entry import ConfigError, parse


@pytest.mark.parametrize(
    ("width", "height", "resized", "offset"),
    [
        (500, 375, (384, 288), (64, 16)),  # int(288 * 500 / 375)
        (375, 500, (288, 384), (16, 64)),
        (333, 500, (288, 432), (16, 88)),  # int(432.43): truncated
        (300, 301, (288, 288), (16, 16)),
        (289, 300, (288, 298), (16, 21)),  # int(298.96)
        (300, 291, (296, 288), (20, 16)),
    ],
)
def test_resize_and_crop_are_the_public_codes(width, height, resized, offset):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    left, top = offset
    whole = np.asarray(image.resize(resized, Image.Resampling.LANCZOS))
    assert np.array_equal(preprocess(image, 256), whole[top : top + 256, left : left + 256])


def test_half_offsets_are_rounded_to_even():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8))
    # (13 - 8) / 2 = 2.5 -> 2, (9 - 8) / 2 = 0.5 -> 0
    assert np.array_equal(preprocess(image, 8, resize=9), np.asarray(image)[0:8, 2:10])


def test_without_a_size_only_the_colours_change():
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert np.array_equal(preprocess(grey, None), np.repeat(np.asarray(grey)[..., None], 3, axis=2))


def test_input_is_in_minus_one_to_one():
    images = np.array([[[[0, 51, 255]]]], np.uint8)
    found = to_input(images)
    assert found.shape == (1, 3, 1, 1)
    assert found.flatten().tolist() == pytest.approx([-1.0, -0.6, 1.0])


def through_file(image, tmp_path, suffix="png", **options):
    image.save(tmp_path / f"picture.{suffix}", **options)
    return Image.open(tmp_path / f"picture.{suffix}")


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("L", 40, [40, 40, 40]),
        ("1", 1, [255, 255, 255]),
        ("LA", (40, 0), [40, 40, 40]),  # alpha is dropped, not blended
        ("RGBA", (10, 20, 30, 0), [10, 20, 30]),
        ("RGB", (10, 20, 30), [10, 20, 30]),
        ("CMYK", (255, 0, 0, 51), [0, 204, 204]),
        ("I;16", 257 * 40, [40, 40, 40]),  # 16 bits: divided by 257
        ("I;16", 65535, [255, 255, 255]),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, pixel, expected):
    image = Image.new(mode, (40, 30), pixel)
    image = through_file(image, tmp_path, "tif" if mode == "CMYK" else "png")
    assert preprocess(image, 16)[8, 8].tolist() == expected
    assert preprocess(image, 16).shape == (16, 16, 3)


def test_a_palette_is_looked_up(tmp_path):
    image = Image.new("RGB", (32, 32), (200, 100, 50)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert preprocess(through_file(image, tmp_path), None)[0, 0].tolist() == [200, 100, 50]


def test_exif_rotation_is_not_applied(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image = through_file(Image.fromarray(pixels), tmp_path, "png", exif=exif)
    assert image.getexif()[0x0112] == 6
    assert np.array_equal(preprocess(image, None), pixels)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 3), (257, 255), (4001, 7)])
def test_odd_sizes_become_the_size(width, height):
    assert preprocess(Image.new("RGB", (width, height), (7, 8, 9)), 64)[0, 0].tolist() == [7, 8, 9]


def test_a_border_is_cropped_first():
    pixels = np.zeros((12, 14, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[2:-2, 2:-2] = 9
    assert np.array_equal(preprocess(Image.fromarray(pixels), None, border=2), np.full((8, 10, 3), 9))
    assert (preprocess(Image.fromarray(pixels), 8, border=2) == 9).all()


EXTREME = [(1, 500), (3, 2000), (500, 1), (2000, 2), (40, 1000), (1000, 37), (130, 2000), (2000, 130), (700, 4200)]


@pytest.mark.parametrize("shape", EXTREME)
@pytest.mark.parametrize(("size", "resize"), [(32, None), (64, 64), (50, 77)])
def test_a_long_picture_has_the_pixels_that_pillow_gives_it(shape, size, resize, monkeypatch):
    pixels = np.random.default_rng(sum(shape)).integers(0, 256, (shape[1], shape[0], 3), np.uint8)
    pixels[:, :: max(1, shape[0] // 7)] = 255  # edges, which overshoot
    found = preprocess(Image.fromarray(pixels), size, resize)
    monkeypatch.setattr("varc.data.preprocess.LONG", 10**9)
    assert np.array_equal(found, preprocess(Image.fromarray(pixels), size, resize))


def test_a_long_picture_costs_about_as_much_as_another(monkeypatch):
    made, resize = [], Image.Image.resize

    def counted(image, size, *arguments):
        made.append(math.prod(size))
        return resize(image, size, *arguments)

    monkeypatch.setattr(Image.Image, "resize", counted)
    for shape in ((1, 20_000), (20_000, 1), (2, 60_000)):
        assert preprocess(Image.new("L", shape), 256).shape == (256, 256, 3)
    assert made and max(made) <= 288 * 288


def test_without_a_resize_a_picture_keeps_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert np.array_equal(preprocess(image.crop((0, 0, 9, 9)), 9, "none"), pixels[:, :9])
    # (13 - 8) / 2 = 2.5 -> 2, (9 - 8) / 2 = 0.5 -> 0: cropped as after a resize
    assert np.array_equal(preprocess(image, 8, "none"), pixels[0:8, 2:10])
    assert np.array_equal(preprocess(image, 5, "none", border=2), pixels[2:7, 4:9])
    with pytest.raises(ValueError, match="13x9 pixels"):  # never a rim of black
        preprocess(image, 10, "none")


def test_a_picture_that_is_enlarged_is_told():
    image = Image.new("L", (40, 32))
    assert enlarged(image, 32) == (
        "40x32 pixels are enlarged, the shorter side to 36, and cropped to 32; where pictures are right as they are, "
        "say resize: none"
    )
    assert enlarged(image, 32, 40) and enlarged(image, 28, border=1)
    assert not any([enlarged(image, 32, "none"), enlarged(image, 28), enlarged(image, 32, 32), enlarged(image, None)])


def picture(width, height):
    pixels = np.random.default_rng(width + height).integers(0, 256, (height, width, 3), np.uint8)
    pixels[:, :: max(1, width // 7)] = 255  # edges, which overshoot
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("width", "height", "halved", "resized", "offset"),
    [
        (500, 375, None, (341, 256), (42, 0)),  # 500 * 256 / 375 = 341.33
        (375, 500, None, (256, 341), (0, 42)),
        (513, 515, (256, 257), (256, 257), (0, 0)),  # halved once, to whole numbers
        (511, 900, None, (256, 451), (0, 97)),  # 450.88
        (2100, 1030, (525, 257), (523, 256), (133, 0)),  # halved twice
        (100, 120, None, (256, 307), (0, 25)),  # enlarged
    ],
)
def test_adm_crop_is_the_public_codes(width, height, halved, resized, offset):
    image = picture(width, height)
    expected = image
    while halved and expected.size != halved:
        expected = expected.resize((expected.width // 2, expected.height // 2), Image.Resampling.BOX)
    left, top = offset
    whole = np.asarray(expected.resize(resized, Image.Resampling.BICUBIC))
    assert np.array_equal(preprocess(image, 256, how="adm"), whole[top : top + 256, left : left + 256])


@pytest.mark.parametrize(
    ("width", "height", "size", "resized", "offset"),
    [
        (500, 375, 224, (341, 256), (58, 16)),  # int(256 * 500 / 375); 58.5 to even
        (375, 500, 224, (256, 341), (16, 58)),
        (333, 500, 224, (256, 384), (16, 80)),
        (100, 130, 64, (73, 94), (4, 15)),  # round(64 / 0.875); 4.5 to even
    ],
)
def test_imagenet_is_torchvisions_evaluation(width, height, size, resized, offset):
    """Resize(256) and CenterCrop(224), by what their code says."""
    image, (left, top) = picture(width, height), offset
    whole = np.asarray(image.resize(resized, Image.Resampling.BILINEAR))
    assert np.array_equal(preprocess(image, size, how="imagenet"), whole[top : top + size, left : left + size])
    assert np.array_equal(
        preprocess(image, size, resize=min(resized), how="imagenet"), preprocess(image, size, how="imagenet")
    )


def test_ways_differ_and_are_named():
    image = picture(300, 280)
    found = [preprocess(image, 64, how=how) for how in ("var", "adm", "imagenet")]
    assert not any(np.array_equal(a, b) for a, b in combinations(found, 2))
    assert enlarged(picture(70, 80), 64) and enlarged(picture(70, 80), 64, how="imagenet")
    assert enlarged(picture(70, 80), 64, how="adm") is None
    assert "shorter side to 64, and" in enlarged(picture(60, 80), 64, how="adm")


@pytest.mark.parametrize("shape", [(1, 500), (3, 2000), (500, 1), (2000, 2), (37, 1000), (1000, 130), (700, 4200)])
@pytest.mark.parametrize("how", ["adm", "imagenet"])
def test_a_long_picture_has_the_pixels_that_pillow_gives_it_by_other_filters(shape, how, monkeypatch):
    found = preprocess(picture(*shape), 50, how=how)
    monkeypatch.setattr("varc.data.preprocess.LONG", 10**9)
    assert np.array_equal(found, preprocess(picture(*shape), 50, how=how))


@pytest.mark.parametrize("how", ["var", "adm", "imagenet"])
def test_a_data_set_says_how_its_images_are_prepared(tmp_path, how):
    (tmp_path / "a").mkdir()
    picture(90, 70).save(tmp_path / "a/0.png")
    spec = {"reader": "image_folder", "root": str(tmp_path), "size": 32, "preprocess": how}
    listed, _ = manifest(spec, [ClassEntry("a", 0, "a")])
    assert np.array_equal(load_images(spec, listed, 32)[0], preprocess(picture(90, 70), 32, how=how))


PICTURES = {"reader": "image_folder", "root": "data", "classes": "classes.csv", "size": 32}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PICTURES | {"preprocess": "adm", "resize": 40}, "resize 40 does not go with preprocess: adm"),
        (PICTURES | {"preprocess": "adm", "resize": "none"}, "resize none does not go with preprocess: adm"),
        (PICTURES | {"preprocess": "lanczos"}, "preprocess"),
        ({"reader": "digits", "split": "test", "preprocess": "imagenet"}, "preprocess: imagenet needs a size"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        parse(Digits if settings["reader"] == "digits" else ImageFolder, settings)
    kept = parse(ImageFolder, PICTURES | {"preprocess": "imagenet", "resize": 40}).params()
    assert kept == PICTURES | {"preprocess": "imagenet", "resize": 40}
    assert "preprocess" not in parse(ImageFolder, PICTURES).params()  # reruns nothing
