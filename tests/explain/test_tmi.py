import numpy as np
import pytest
import torch
from parity import models, reference

from varc.explain.tmi import (
    as_picture,
    choose_against,
    choose_target,
    explained_images,
    scale_maps,
    scale_weights,
    tmi,
    tmi_map,
)
from varc.scoring.funnel import Scores
from varc.scoring.likelihood import score

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def per_token():
    (vqvae, var), ref = models(), reference()
    target = np.full(3, ref["meta"]["tmi_class"])
    return tmi(var, vqvae.quantize, ref["tokens"].astype(np.uint16), target, np.full(3, -1), device=CPU)


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
    assert np.abs(between(2, 7) - (between(2, -1) - between(7, -1))).max() < 1e-3


def test_maps_by_hand():
    per_token = np.array([[5.0, 1.0, 2.0, 3.0, 4.0]], np.float32)
    maps = scale_maps(per_token, (1, 2))
    assert maps.tolist() == [[[[5.0, 5.0], [5.0, 5.0]], [[1.0, 2.0], [3.0, 4.0]]]]
    assert scale_weights((1, 2)).tolist() == [0.25, 1.0]
    assert tmi_map(per_token, (1, 2)).tolist() == [[[2.25, 3.25], [4.25, 5.25]]]


def test_pictures_are_clipped_and_scaled():
    maps = np.array([[[-1.0, 1.0], [3.0, 5.0]], [[-3.0, -1.0], [-2.0, -5.0]]], np.float32)
    assert as_picture(maps).tolist() == [[[0.0, pytest.approx(0.2)], [pytest.approx(0.6), 1.0]], [[0, 0], [0, 0]]]


def test_who_is_told_from_whom():
    labels = np.array([4, 2])
    scores = Scores(np.array(["a", "b"]), np.array([[1, 2, 4], [1, 2, 4]]), np.array([[-1.0, -3, -2], [-9, -1, -2]]))
    assert choose_target("label", labels, None).tolist() == [4, 2]
    prediction = choose_target("prediction", labels, scores)
    assert prediction.tolist() == [1, 2]
    assert choose_target(7, labels, None).tolist() == [7, 7]
    assert choose_against("runner_up", prediction, scores).tolist() == [4, 4]
    assert choose_against("runner_up", labels, scores).tolist() == [1, 4]
    assert choose_against("unconditional", labels, None).tolist() == [-1, -1]
    assert choose_against(3, labels, None).tolist() == [3, 3]


def test_the_images_explained_do_not_depend_on_their_order():
    ids = np.array([f"{i:03}" for i in range(50)], dtype=object)
    chosen = explained_images(ids, 10, 0)
    assert chosen.sum() == 10 and (explained_images(ids[::-1], 10, 0)[::-1] == chosen).all()
    assert (chosen <= explained_images(ids, 20, 0)).all()  # more images are the same ones and others
    assert (explained_images(ids, 10, 1) != chosen).any()
    assert explained_images(ids, None, 0).all() and explained_images(ids, 99, 0).all()
