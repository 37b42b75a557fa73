import numpy as np
import pytest
import torch
from parity import models, reference

from varc.scoring.guidance import score_guided
from varc.scoring.likelihood import score, sum_per_scale

CPU = torch.device("cpu")


def small_case():
    (vqvae, var), ref = models(), reference()
    return vqvae, var, ref["tokens"].astype(np.uint16)[:2, :30], np.array([[0, 3, 7], [1, 2, 9]], np.int32)


@pytest.mark.parametrize("guidance", [0.5, 2.0])
@torch.inference_mode()
def test_guided_scores_are_those_of_the_guided_logits_of_the_plain_forward_pass(guidance):
    vqvae, var, tokens, candidates = small_case()
    found = score_guided(var, vqvae.quantize, tokens, candidates, guidance, device=CPU)
    for i, row in enumerate(torch.from_numpy(tokens.astype(np.int64))):
        teacher_input = vqvae.quantize.teacher_input(row[None])
        unconditional = var(torch.tensor([var.config.num_classes]), teacher_input)
        for j, label in enumerate(candidates[i]):
            logits = (1 + guidance) * var(torch.tensor([int(label)]), teacher_input) - guidance * unconditional
            log_prob = logits.log_softmax(-1).gather(-1, row[None, :, None])[..., 0]
            expected = sum_per_scale(log_prob, var.config.patch_nums).numpy()[0]
            assert np.abs(found[i, j] - expected).max() < 1e-2


def test_no_guidance_gives_the_plain_scores():
    vqvae, var, tokens, candidates = small_case()
    found = score_guided(var, vqvae.quantize, tokens, candidates, 0.0, device=CPU)
    assert np.abs(found - score(var, vqvae.quantize, tokens, candidates, device=CPU)).max() < 1e-3


def test_the_order_of_classes_does_not_matter():
    vqvae, var, tokens, candidates = small_case()
    found = score_guided(var, vqvae.quantize, tokens, candidates, 1.0, device=CPU)
    turned = score_guided(var, vqvae.quantize, tokens, candidates[:, ::-1].copy(), 1.0, device=CPU)
    assert np.abs(turned[:, ::-1] - found).max() < 1e-3


def test_guided_scores_do_not_depend_on_batch_size():
    """Batches begin at an image, in its midst, at its last class; one holds just the unconditional pair."""
    vqvae, var, tokens, candidates = small_case()
    tokens, candidates = np.concatenate([tokens, tokens[:1]]), np.concatenate([candidates, candidates[:1] + 9])
    whole = score_guided(var, vqvae.quantize, tokens, candidates, 1.5, device=CPU, batch_size=12)
    for batch_size in (1, 3, 5, 9):
        other = score_guided(var, vqvae.quantize, tokens, candidates, 1.5, device=CPU, batch_size=batch_size)
        assert np.abs(other - whole).max() < 1e-3
