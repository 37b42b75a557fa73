import numpy as np
import pytest
import torch
from parity import models, reference

from varc.scoring.likelihood import log_prob_per_token, score, sum_per_scale

CPU = torch.device("cpu")


@torch.inference_mode()
def test_log_probabilities_are_the_public_codes():
    (vqvae, var), ref = models(), reference()
    tokens = torch.from_numpy(ref["tokens"].astype(np.int64))
    teacher_input = vqvae.quantize.teacher_input(tokens)
    for label in range(ref["log_prob_per_token"].shape[1]):
        found = log_prob_per_token(var, teacher_input, tokens, torch.full((len(tokens),), label))
        assert np.abs(found.numpy() - ref["log_prob_per_token"][:, label]).max() < 1e-3
        per_scale = sum_per_scale(found, var.config.patch_nums).numpy()
        assert np.abs(per_scale - ref["log_prob_per_scale"][:, label]).max() < 1e-2


@pytest.mark.parametrize("sample", [0, 1, 2])
def test_scores_of_all_classes_are_the_public_codes(sample):
    (vqvae, var), ref = models(), reference()
    tokens = ref["smoothed_tokens"][sample].astype(np.uint16)
    candidates = np.tile(np.arange(21, dtype=np.int32), (len(tokens), 1))
    found = score(var, vqvae.quantize, tokens, candidates, batch_size=8, device=CPU)
    assert np.abs(found.sum(-1) - ref["smoothed_log_lik"][sample]).max() < 1e-2


def test_scores_do_not_depend_on_batch_size_or_order_of_images_and_classes():
    (vqvae, var), ref = models(), reference()
    tokens = ref["tokens"].astype(np.uint16)[:, :55]
    candidates = np.array([[0, 3, 7], [1, 2, 9], [4, 5, 20]], np.int32)
    whole = score(var, vqvae.quantize, tokens, candidates, batch_size=9, device=CPU)
    for batch_size in (1, 2, 4, 100):
        other = score(var, vqvae.quantize, tokens, candidates, batch_size=batch_size, device=CPU)
        assert np.abs(other - whole).max() < 1e-3
    turned = score(var, vqvae.quantize, tokens[::-1].copy(), candidates[::-1, ::-1].copy(), batch_size=4, device=CPU)
    assert np.abs(turned[::-1, ::-1] - whole).max() < 1e-3


def test_fewer_scales_are_a_prefix():
    (vqvae, var), ref = models(), reference()
    tokens, candidates = ref["tokens"].astype(np.uint16), np.array([[0, 4]] * 3, np.int32)
    whole = score(var, vqvae.quantize, tokens, candidates, batch_size=6, device=CPU)
    for scales, length in ((1, 1), (6, 91), (10, 680)):
        found = score(var, vqvae.quantize, tokens[:, :length], candidates, batch_size=6, device=CPU)
        assert found.shape == (3, 2, scales)
        assert np.abs(found - whole[..., :scales]).max() < 1e-3


def test_sums_per_scale_by_hand():
    log_prob = torch.arange(14, dtype=torch.float32)[None]
    assert sum_per_scale(log_prob, (1, 2, 3, 9)).tolist() == [[0.0, 1 + 2 + 3 + 4, sum(range(5, 14))]]
