import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity import models, reference

from varc.models.quantizer import MultiScaleQuantizer, phi_index


def quantizer():
    """One of random weights, for features (B, 8, 4, 4) and 64 codes."""
    torch.manual_seed(0)
    return MultiScaleQuantizer(64, 8, (1, 2, 3, 4))


@torch.inference_mode()
def test_smoothed_tokens_are_the_public_codes():
    vqvae, ref = models()[0], reference()
    for noise, tokens in zip(ref["noise"], ref["smoothed_tokens"][1:], strict=True):
        f = torch.from_numpy(ref["f"] + ref["meta"]["sigma"] * noise)
        assert np.array_equal(vqvae.quantize.quantize(f).numpy(), tokens)


@torch.inference_mode()
def test_teacher_input_is_the_public_codes():
    vqvae, ref = models()[0], reference()
    found = vqvae.quantize.teacher_input(torch.from_numpy(ref["tokens"].astype(np.int64)))
    assert np.abs(found.numpy() - ref["teacher_input"]).max() < 1e-4


def test_phi_of_each_scale():
    # ticks 3/36, 13/36, 23/36, 33/36 against 4k/36, by hand; k = 2 and 7 lie halfway between two
    assert [phi_index(k, 10) for k in (0, 1, 3, 4, 5, 6, 8, 9)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [phi_index(k, 10) for k in (2, 7)] == [1, 3]  # what float64 makes of the ties in the public code
    assert [phi_index(k, 4) for k in range(4)] == [0, 1, 2, 3]
    assert phi_index(0, 1) == 0


def test_first_scales_do_not_depend_on_later_ones():
    four = quantizer()
    tokens = torch.randint(64, (5, 30))
    whole = four.teacher_input(tokens)
    for length in (1, 5, 14):
        assert torch.equal(four.teacher_input(tokens[:, :length]), whole[:, : length - 1])


def test_dequantize_is_the_sum_of_the_scales_and_last_teacher_input_leads_to_it():
    four, f = quantizer(), torch.randn(3, 8, 4, 4)
    contributions = [h for _, _, h in four.residual_steps(f)]
    tokens = four.quantize(f)
    assert torch.allclose(four.dequantize(tokens), sum(contributions), atol=1e-6)
    last = four.teacher_input(tokens)[:, -16:].transpose(1, 2).reshape(3, 8, 4, 4)
    assert torch.allclose(last + contributions[-1], sum(contributions), atol=1e-5)


def test_one_scale_is_plain_vector_quantisation():
    plain = MultiScaleQuantizer(16, 4, (3,))
    for phi in plain.quant_resi.qresi_ls:
        torch.nn.init.dirac_(phi.weight)  # identity, so Phi(h) = h
        torch.nn.init.zeros_(phi.bias)
    f = torch.randn(2, 4, 3, 3)
    rows = f.permute(0, 2, 3, 1).reshape(-1, 4)
    nearest = torch.cdist(rows, plain.embedding.weight).argmin(1)
    assert torch.equal(plain.quantize(f).flatten(), nearest)
    f_hat = plain.dequantize(nearest.view(2, 9))
    assert torch.allclose(f_hat.permute(0, 2, 3, 1).reshape(-1, 4), F.embedding(nearest, plain.embedding.weight))


def test_tokens_that_end_inside_a_scale_are_refused():
    with pytest.raises(ValueError, match="7 tokens"):
        quantizer().teacher_input(torch.zeros(1, 7, dtype=torch.int64))
