import math

import numpy as np
import pytest
import torch

from varc.data.tensors import to_input
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.training.augment import Augment, affine, augmented_tokens, changed, drawn_for

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
X = to_input(IMAGES)
ALL = Augment(1.5, 0.2, 15.0)


def row(*numbers):
    return torch.tensor([numbers], dtype=torch.float32).repeat(len(X), 1)


def test_nothing_drawn_changes_nothing():
    assert torch.allclose(changed(X, row(0, 0, 0, 0), ALL), X, atol=1e-5)


@pytest.mark.parametrize(("across", "down"), [(1, 0), (0, -1), (1, 1)])
def test_a_shift_by_whole_pixels_repeats_the_edge(across, down):
    """To the right and down; a share of 1 is all of `translate`."""
    found = changed(X, row(across, down, 0, 0), Augment(translate=2.0))
    padded = np.pad(X.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), "edge")
    expected = padded[:, :, 2 - 2 * down :, 2 - 2 * across :][:, :, :8, :8]
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_half_a_pixel_is_the_mean_of_two():
    found = changed(X, row(0.5, 0, 0, 0), Augment(translate=1.0))
    assert torch.allclose(found[..., 1:], (X[..., 1:] + X[..., :-1]) / 2, atol=1e-5)


def test_a_quarter_turn_to_the_right():
    found = changed(X, row(0, 0, 0, 1), Augment(rotate=90.0))
    assert torch.allclose(found, torch.rot90(X, -1, (2, 3)), atol=1e-4)


def test_twice_as_large_shows_the_middle_half():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    found = changed(ramp, torch.tensor([[0.0, 0.0, 1.0, 0.0]]), Augment(scale=1.0))
    assert torch.allclose(found[0, 0, 3], 3.5 + (torch.arange(8.0) - 3.5) / 2, atol=1e-5)


def test_a_turned_image_is_shifted_after_that():
    """(x, y) -> shift + factor R (x, y): the inverse of what affine_grid takes."""
    drawn = torch.tensor([[0.3, -0.8, 0.5, 0.7], [-1.0, 1.0, -1.0, -1.0]])
    theta = affine(drawn, ALL, 8).numpy()
    for (dx, dy, scale, turn), found in zip(drawn.tolist(), theta, strict=True):
        angle, factor = math.radians(15) * turn, 1.2**scale
        forward = factor * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shift = np.array([dx, dy]) * 1.5 * 2 / 8
        inverse = np.linalg.inv(forward)
        assert np.allclose(found, np.hstack([inverse, -(inverse @ shift)[:, None]]), atol=1e-6)


def small_vqvae():
    torch.manual_seed(0)
    return VQVAE(VQVAEConfig((1, 2, 4), 8, (1, 2), 1, 4, 16, 4)).eval().requires_grad_(False)


def tokens_of(images, ids, seed=0, batch_size=4):
    options = {"copies": 3, "seed": seed, "batch_size": batch_size, "device": torch.device("cpu")}
    return augmented_tokens(small_vqvae(), images, ids, ALL, **options)


def test_copies_follow_from_seed_and_name_alone():
    ids = [f"image {i}" for i in range(6)]
    found = tokens_of(IMAGES, ids)
    order = [3, 0, 5, 1, 4, 2]
    assert found.shape == (3, 6, 21) and found.dtype == np.uint16
    assert (tokens_of(IMAGES[order], [ids[i] for i in order], batch_size=5)[:, np.argsort(order)] == found).all()
    assert (found[0] != found[1]).any() and (found != tokens_of(IMAGES, ids, seed=1)).any()
    assert (found != tokens_of(IMAGES, ids[::-1])).any()
    vqvae = small_vqvae()
    expected = vqvae.quantize.quantize(vqvae.features(changed(X, drawn_for(ids, 2, 0), ALL)))
    assert (found[2] == expected.numpy()).mean() > 0.99  # but for the rounding of other batches


def test_what_is_drawn_fills_the_range():
    drawn = drawn_for([str(i) for i in range(2000)], 0, 0)
    assert drawn.min() >= -1 and drawn.max() <= 1
    assert drawn.mean(0).abs().max() < 0.06 and (drawn.var(0) - 1 / 3).abs().max() < 0.03


def test_settings_without_a_change_make_none():
    assert Augment.of(None) is None
    assert Augment.of({"translate": 2.0, "copies": 3}) == Augment(2.0, 0.0, 0.0)
