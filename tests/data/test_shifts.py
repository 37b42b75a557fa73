"""Named shifts: closed forms, and the same images for any order and shard."""

import numpy as np
import pytest
from scipy.stats import norm

from varc.data.classes import data_set_classes
from varc.data.manifest import load_images, manifest
from varc.data.shifts import SHIFTS, shifted, sketch
from varc.seeded import image_generator
from workflow.config.data import Shift

SIDE = 28
IDS = [f"image{i}" for i in range(12)]


def pictures(side=SIDE, n=12):
    """Smooth random colour images: levels from 30 to 225."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(side) / side * rng.uniform(2, 9, (n, 3, 1)))
    return (127.5 + 97.5 * waves[:, :, :, None] * waves[:, ::-1, None, :]).transpose(0, 2, 3, 1).astype(np.uint8)


def apply(name, image, amount):
    return SHIFTS[name].apply(image, amount, image_generator(0, "test", "one"))


def dot(side=SIDE):
    """A black image with one white pixel, and where that is."""
    image = np.zeros((side, side, 3), np.uint8)
    image[12, 15] = 255
    return image


def test_the_config_takes_the_shifts_and_the_severities():
    taken = Shift.model_json_schema()["properties"]
    assert taken["name"]["enum"] == list(SHIFTS)
    assert (taken["severity"]["minimum"], taken["severity"]["maximum"]) == (1, 5)
    assert all(len(shift.amounts) == 5 for shift in SHIFTS.values())


NOTHING = {
    "gaussian_noise": 0, "blur": 0, "contrast": 1, "brightness": 0, "rotation": 0, "pixelate": 1, "occlusion": 0,
    "sketch": 0, "inverted": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_an_amount_of_nothing_changes_nothing(name):
    for image in pictures(n=3):
        assert (apply(name, image, NOTHING[name]) == image).all()


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("side", [8, 28, 64])
def test_a_higher_severity_changes_more(name, side):
    images = pictures(side)
    change = [np.abs(shifted(images, IDS, name, severity).astype(float) - images).mean() for severity in range(1, 6)]
    assert change[-1] > max(1, 1.5 * change[0])
    assert (np.diff(change) >= (0 if side > 8 else -0.5)).all()  # at 8 pixels some severities are the same


@pytest.mark.parametrize("name", SHIFTS)
def test_an_images_shift_depends_on_its_id_and_the_seed_alone(name):
    images = pictures()
    whole = shifted(images, IDS, name, 3)
    order = np.random.default_rng(1).permutation(len(IDS))
    assert (shifted(images[order], [IDS[i] for i in order], name, 3) == whole[order]).all()
    assert (shifted(images[4:5], IDS[4:5], name, 3) == whole[4:5]).all()
    random = name in ("gaussian_noise", "translation", "rotation", "occlusion")
    for ids, seed in (([f"other{i}" for i in range(len(IDS))], 0), (IDS, 1)):
        assert (shifted(images, ids, name, 3, seed) != whole).any() == random


@pytest.mark.parametrize("name", SHIFTS)
def test_grey_images_stay_grey(name):
    grey = np.repeat(pictures()[..., :1], 3, axis=3)
    found = shifted(grey, IDS, name, 4)
    assert (found == found[..., :1]).all()


def test_noise_has_the_stated_spread_and_is_the_same_at_all_severities():
    image = np.full((1, 200, 200, 3), 128, np.uint8)
    weak, strong = (shifted(image, ["a"], "gaussian_noise", s).astype(float) - 128 for s in (1, 2))
    assert weak.std() == pytest.approx(0.08 * 255, rel=0.02) and abs(weak.mean()) < 0.2
    assert np.abs(strong / 0.12 - weak / 0.08).max() < 0.5 / 0.12 + 0.5 / 0.08


def test_blur_is_a_gaussian_of_the_stated_spread():
    image = np.zeros((64, 64, 3), np.uint8)
    image[32, :] = 255  # a line: its profile is the Gaussian
    profile = apply("blur", image, 3 / 64)[:, 20, 0]
    assert profile == pytest.approx(255 * norm.pdf(np.arange(64) - 32, scale=3), abs=0.6)


def test_contrast_keeps_the_mean_and_shrinks_the_spread():
    image = pictures()[0]
    found = apply("contrast", image, 0.2)
    assert np.abs(found.mean((0, 1)) - image.mean((0, 1))).max() < 0.5
    assert found.std() == pytest.approx(np.std(0.2 * (image - image.mean((0, 1))) + image.mean((0, 1))), rel=0.02)


def test_brightness_is_added_and_cut_at_white():
    image = np.array([[[0, 100, 200]]], np.uint8)
    assert apply("brightness", image, 0.4).tolist() == [[[102, 202, 255]]]


@pytest.mark.parametrize("side", [28, 40])
def test_translation_moves_a_dot_by_the_stated_pixels(side):
    amounts = SHIFTS["translation"].amounts
    ids = [f"image{i}" for i in range(40)]
    for severity, share in enumerate(amounts, 1):
        found = shifted(np.stack([dot(side)] * len(ids)), ids, "translation", severity)
        _, rows, columns = np.nonzero(found[..., 0])
        pixels = round(share * side)
        moves = {(pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)}
        assert set(zip((rows - 12).tolist(), (columns - 15).tolist(), strict=True)) == moves


def test_translation_fills_the_gap_with_edge_pixels():
    ramp = np.repeat(np.arange(0, 140, 5, dtype=np.uint8)[None, :, None], SIDE, axis=0).repeat(3, axis=2)
    found = shifted(np.stack([ramp] * 40), [f"image{i}" for i in range(40)], "translation", 5)[:, 0, :, 0]
    right, left = (np.unique(row).tolist() for row in (found[found[:, 1] == 0][0], found[found[:, 0] == 35][0]))
    assert right == list(range(0, 105, 5)) and left == list(range(35, 140, 5))


def test_rotation_keeps_a_disc_and_turns_a_bar_either_way():
    rows, columns = np.mgrid[:41, :41] - 20
    distance = np.hypot(rows, columns)
    disc = np.clip(255 * (15 - distance) / 12, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    assert np.abs(apply("rotation", disc, 37).astype(int) - disc).max() <= 8  # a soft edge, read between pixels
    ids = [f"image{i}" for i in range(20)]
    bar = np.where((np.abs(rows) < 2) & (distance < 15), 255, 0).astype(np.uint8)[..., None].repeat(3, 2)
    angles = set()
    for found in shifted(np.stack([bar] * len(ids)), ids, "rotation", 3)[..., 0].astype(float):
        angles.add(
            round(
                np.degrees(0.5 * np.arctan2(2 * (found * rows * columns).sum(), (found * (columns**2 - rows**2)).sum()))
            )
        )
    assert angles == {30, -30}


def test_pixelation_makes_blocks_of_their_mean():
    image = pictures()[0]
    found = apply("pixelate", image, 0.25)
    blocks = image.reshape(7, 4, 7, 4, 3).mean((1, 3))
    assert np.abs(found.reshape(7, 4, 7, 4, 3) - blocks[:, None, :, None]).max() < 1


def test_an_occluder_is_a_grey_square_that_grows():
    black, before = np.zeros((len(IDS), SIDE, SIDE, 3), np.uint8), None
    for severity, share in enumerate(SHIFTS["occlusion"].amounts, 1):
        covered = shifted(black, IDS, "occlusion", severity)[..., 0] == 128
        assert (covered.sum((1, 2)) == round(share * SIDE) ** 2).all()
        assert before is None or (covered | before == covered).all()
        before = covered
    assert len({one.tobytes() for one in before}) > 4


def test_a_sketch_is_white_with_dark_lines_at_the_edges():
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:, 14:] = 90
    found = apply("sketch", image, 1)[:, :, 0]
    assert (found[:, [0, 5, 22, 27]] == 255).all() and (found[:, 13:15] == 0).all()
    assert (sketch(255 - image, 1, None)[:, :, 0] == found).all()  # edges know no sign
    assert (apply("sketch", np.full_like(image, 77), 1) == 255).all()


def test_the_highest_inversion_is_the_negative():
    images = pictures()
    assert (shifted(images, IDS, "inverted", 5) == 255 - images).all()
    twice = shifted(255 - images, IDS, "inverted", 2).astype(int)
    assert np.abs(twice - shifted(images, IDS, "inverted", 3)).max() <= 1


def test_a_data_set_with_a_shift_has_the_same_rows_and_shifted_images():
    clean = {"reader": "digits", "split": "validation"}
    spec = clean | {"shift": {"name": "gaussian_noise", "severity": 2}}
    listed, _ = manifest(spec, data_set_classes(spec))
    assert listed == manifest(clean, data_set_classes(clean))[0]
    images, ids = load_images(clean, listed, 8), [row.image_id for row in listed]
    found = load_images(spec, listed, 8)
    assert (found == shifted(images, ids, "gaussian_noise", 2)).all() and (found != images).any()
    assert (load_images(spec, listed[7:9], 8) == found[7:9]).all()
