import numpy as np
import pytest
import torch
from parity import models, reference

from varc.explain.tmi import as_picture, scale_maps, scale_weights, tmi, tmi_map
from varc.scoring.likelihood import score

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def per_token():
    (vqvae, var), ref = models(), reference()
    target = np.full(3, ref["meta"]["tmi_class"])
    return tmi(var, vqvae.quantize, ref["tokens"].astype(np.uint16), target, np.full(3, 20), device=CPU)


def test_the_map_is_the_public_codes(per_token):
    ref = reference()
    assert np.abs(tmi_map(per_token, ref["meta"]["patch_nums"]) - ref["tmi_raw"]).max() < 1e-3
    assert np.abs(ref["tmi_raw"]).max() > 0.1


def test_the_tokens_sum_to_the_difference_of_log_likelihoods(per_token):
    (vqvae, var), ref = models(), reference()
    pair = np.tile(np.array([ref["meta"]["tmi_class"], 20], np.int32), (3, 1))
    both = score(var, vqvae.quantize, ref["tokens"].astype(np.uint16), pair, device=CPU).sum(-1)
    assert np.abs(per_token.sum(1, dtype=np.float64) - (both[:, 0] - both[:, 1])).max() < 1e-3


def test_contrast_is_antisymmetric_and_transitive():
    (vqvae, var), ref = models(), reference()
    tokens = ref["tokens"].astype(np.uint16)

    def between(a, b):
        return tmi(var, vqvae.quantize, tokens, np.full(3, a), np.full(3, b), device=CPU)

    assert np.abs(between(2, 7) + between(7, 2)).max() < 1e-4
    assert np.abs(between(2, 7) - (between(2, 20) - between(7, 20))).max() < 1e-3


def test_maps_by_hand():
    per_token = np.array([[5.0, 1.0, 2.0, 3.0, 4.0]], np.float32)
    maps = scale_maps(per_token, (1, 2))
    assert maps.tolist() == [[[[5.0, 5.0], [5.0, 5.0]], [[1.0, 2.0], [3.0, 4.0]]]]
    assert scale_weights((1, 2)).tolist() == [0.25, 1.0]
    assert tmi_map(per_token, (1, 2)).tolist() == [[[2.25, 3.25], [4.25, 5.25]]]


def test_pictures_are_clipped_and_scaled():
    maps = np.array([[[-1.0, 1.0], [3.0, 5.0]], [[-3.0, -1.0], [-2.0, -5.0]]], np.float32)
    assert as_picture(maps).tolist() == [[[0.0, pytest.approx(0.2)], [pytest.approx(0.6), 1.0]], [[0, 0], [0, 0]]]
