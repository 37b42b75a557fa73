import numpy as np
import pytest
import torch
from parity import models, reference

from varc.explain.tmi import (
    as_picture,
    explained_images,
    explained_order,
    randomised,
    role_classes,
    scale_maps,
    scale_weights,
    tmi,
    tmi_map,
    weighted_maps,
)
from varc.models.var import VAR, VARConfig
from varc.scoring.funnel import Scores
from varc.scoring.likelihood import score, score_tokens

CPU = torch.device("cpu")


def log_prob(class_id):
    """log p of each token of the reference's images (N, L) under a class; 20 is the unconditional one."""
    (vqvae, var), ref = models(), reference()
    tokens = ref["tokens"].astype(np.uint16)
    return score_tokens(var, vqvae.quantize, tokens, np.full((3, 1), class_id, np.int32), device=CPU)[:, 0]


@pytest.fixture(scope="module")
def per_token():
    return tmi([log_prob(reference()["meta"]["tmi_class"])], [log_prob(20)])


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
    a, b, none = log_prob(2), log_prob(7), log_prob(20)
    assert np.abs(tmi([a], [b]) + tmi([b], [a])).max() < 1e-4
    assert np.abs(tmi([a], [b]) - (tmi([a], [none]) - tmi([b], [none]))).max() < 1e-3


def test_samples_are_averaged():
    target = [np.array([[1.0, 2.0]], np.float32), np.array([[3.0, 5.0]], np.float32)]
    against = [np.array([[0.0, 1.0]], np.float32), np.array([[1.0, 0.0]], np.float32)]
    assert tmi(target, against).tolist() == [[1.5, 3.0]]


def test_maps_by_hand():
    per_token = np.array([[5.0, 1.0, 2.0, 3.0, 4.0]], np.float32)
    maps = scale_maps(per_token, (1, 2))
    assert maps.tolist() == [[[[5.0, 5.0], [5.0, 5.0]], [[1.0, 2.0], [3.0, 4.0]]]]
    assert scale_weights((1, 2)).tolist() == [0.25, 1.0]
    assert tmi_map(per_token, (1, 2)).tolist() == [[[2.25, 3.25], [4.25, 5.25]]]
    assert tmi_map(per_token, (1, 2), "tmi_flat").tolist() == [[[6.0, 7.0], [8.0, 9.0]]]
    assert tmi_map(per_token, (1, 2), "tmi_last").tolist() == [[[1.0, 2.0], [3.0, 4.0]]]
    assert tmi_map(per_token, (1, 2), "tmi_steep").tolist() == [[[1.3125, 2.3125], [3.3125, 4.3125]]]


def test_absolute_values_by_hand():
    """What two tokens of one place say for either class does not cancel, as it does in plain TMI."""
    per_token = np.array([[-4.0, 1.0, -2.0, 3.0, -4.0]], np.float32)
    assert tmi_map(per_token, (1, 2), "tmi").tolist() == [[[0.0, -3.0], [2.0, -5.0]]]
    for method in ("tmi_abs", "tmi_abs_randomised"):
        assert tmi_map(per_token, (1, 2), method).tolist() == [[[2.0, 3.0], [4.0, 5.0]]]


def test_swapped_classes_flip_the_map_and_not_that_of_absolute_values():
    patch_nums = reference()["meta"]["patch_nums"]
    one, other = tmi([log_prob(2)], [log_prob(7)]), tmi([log_prob(7)], [log_prob(2)])
    assert np.array_equal(tmi_map(one, patch_nums), -tmi_map(other, patch_nums))
    assert np.array_equal(tmi_map(one, patch_nums, "tmi_abs"), tmi_map(other, patch_nums, "tmi_abs"))
    assert (tmi_map(one, patch_nums, "tmi_abs") >= np.abs(tmi_map(one, patch_nums)) - 1e-5).all()


def test_scales_add_up_to_the_map(per_token):
    patch_nums = reference()["meta"]["patch_nums"]
    parts = weighted_maps(per_token, patch_nums)
    assert parts.shape[1] == 10 and np.abs(parts.sum(1) - tmi_map(per_token, patch_nums)).max() < 1e-5


def test_randomised_weights_are_the_same_numbers_in_another_order():
    config = VARConfig(depth=1, width=8, heads=2, num_classes=3, vocab_size=5, z_channels=4, patch_nums=(1, 2))
    torch.manual_seed(0)
    before = {name: p.clone() for name, p in VAR(config).named_parameters()}
    torch.manual_seed(0)
    after = dict(randomised(VAR(config), 0).named_parameters())
    assert all(torch.equal(before[n].flatten().sort()[0], after[n].flatten().sort()[0]) for n in before)
    assert not torch.equal(before["head.weight"], after["head.weight"])


def test_pictures_are_clipped_and_scaled():
    maps = np.array([[[-1.0, 1.0], [3.0, 5.0]], [[-3.0, -1.0], [-2.0, -5.0]]], np.float32)
    assert as_picture(maps).tolist() == [[[0.0, pytest.approx(0.2)], [pytest.approx(0.6), 1.0]], [[0, 0], [0, 0]]]


def test_who_is_told_from_whom():
    labels = np.array([4, 2])
    scores = Scores(np.array(["a", "b"]), np.array([[1, 2, 4], [1, 2, 4]]), np.array([[-1.0, -3, -2], [-9, -1, -2]]))
    assert role_classes("label", labels, None).tolist() == [4, 2]
    assert role_classes("prediction", labels, scores).tolist() == [1, 2]
    assert role_classes("7", labels, None).tolist() == [7, 7]
    assert role_classes("runner_up-of-prediction", labels, scores).tolist() == [4, 4]
    assert role_classes("runner_up-of-label", labels, scores).tolist() == [1, 4]
    assert role_classes("runner_up-of-1", labels, scores).tolist() == [4, 2]
    assert role_classes("unconditional", labels, None).tolist() == [-1, -1]
    pairs = {"target": np.array([4, 2]), "against": np.array([1, 7])}
    assert role_classes("target-of-runner_up-of-x", labels, None, pairs).tolist() == [4, 2]
    assert role_classes("against-of-pairs", labels, None, pairs).tolist() == [1, 7]


def test_the_images_explained_do_not_depend_on_their_order():
    ids = np.array([f"{i:03}" for i in range(50)], dtype=object)
    chosen = explained_images(ids, 10, 0)
    assert chosen.sum() == 10 and (explained_images(ids[::-1], 10, 0)[::-1] == chosen).all()
    assert (chosen <= explained_images(ids, 20, 0)).all()  # more images are the same ones and others
    assert (explained_images(ids, 10, 1) != chosen).any()
    assert explained_images(ids, None, 0).all() and explained_images(ids, 99, 0).all()


def test_of_some_images_the_first_by_the_same_hash_are_explained():
    ids = np.array([f"{i:03}" for i in range(50)], dtype=object)
    some = set(ids[::2])
    chosen = explained_images(ids, 10, 0, some)
    assert set(np.flatnonzero(chosen)) == {*[i for i in explained_order(ids, 0) if ids[i] in some][:10]}
    assert (explained_images(ids, None, 0, some) == np.isin(ids, list(some))).all()
