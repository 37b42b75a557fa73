import numpy as np
import pytest
from PIL import Image

from varc.data.preprocess import preprocess, to_input


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
