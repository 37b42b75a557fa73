import numpy as np
import pytest
import torch
from forward import log_prob_per_token
from parity import models, reference

from varc.models.arithmetic import Arithmetic
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.scoring import likelihood
from varc.scoring.likelihood import computing, score, sum_per_scale

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


def test_memory_that_does_not_suffice_halves_the_batch(monkeypatch, caplog):
    (vqvae, var), ref = models(), reference()
    tokens, candidates = ref["tokens"].astype(np.uint16)[:, :14], np.tile(np.arange(7, dtype=np.int32), (3, 1))
    expected = score(var, vqvae.quantize, tokens, candidates, batch_size=21, device=CPU)
    plain = likelihood.pair_log_prob

    def limited(var, tables, x, tokens, rows):
        if len(x) > 3:
            raise torch.OutOfMemoryError("made up")
        return plain(var, tables, x, tokens, rows)

    monkeypatch.setattr(likelihood, "pair_log_prob", limited)
    found = score(var, vqvae.quantize, tokens, candidates, batch_size=21, device=CPU)
    assert np.abs(found - expected).max() < 1e-3
    assert caplog.messages == [f"out of memory: {n} pairs a batch from here on" for n in (10, 5, 2)]
    monkeypatch.setattr(likelihood, "pair_log_prob", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("always")))
    with pytest.raises(torch.OutOfMemoryError):
        score(var, vqvae.quantize, tokens, candidates, batch_size=4, device=CPU)


def test_bf16_is_close_and_leaves_the_model_as_it_was():
    (vqvae, var), ref = models(), reference()
    tokens, candidates = ref["tokens"].astype(np.uint16), np.tile(np.arange(20, dtype=np.int32), (3, 1))
    exact = score(var, vqvae.quantize, tokens, candidates, device=CPU).sum(-1)
    bf16 = computing(var, Arithmetic("bf16"))
    half = score(bf16, vqvae.quantize, tokens, candidates, device=CPU).sum(-1)
    assert 1e-3 < np.abs(half - exact).max() < 0.02 * (exact.max(1) - exact.min(1)).min() + 5
    assert (half.argmax(1) == exact.argmax(1)).all()
    assert {p.dtype for p in var.parameters()} == {torch.float32}
    again = score(var, vqvae.quantize, tokens, candidates, device=CPU).sum(-1)
    assert np.array_equal(again, exact)


def test_a_shape_with_shared_adaln_and_two_start_tokens_is_the_plain_forward():
    torch.manual_seed(0)
    var = VAR(VARConfig(3, 48, 4, 5, 32, 4, (2, 3, 5), shared_adaln=True)).eval()
    for p in var.parameters():
        torch.nn.init.normal_(p, std=0.3)
    quantizer = MultiScaleQuantizer(32, 4, (2, 3, 5)).eval()
    tokens = torch.randint(0, 32, (2, 38))
    found = score(var, quantizer, tokens.numpy().astype(np.uint16), np.array([[0, 5], [2, 4]], np.int32), device=CPU)
    for i, labels in enumerate(([0, 5], [2, 4])):
        for j, label in enumerate(labels):
            plain = log_prob_per_token(
                var, quantizer.teacher_input(tokens[i : i + 1]), tokens[i : i + 1], torch.tensor([label])
            )
            assert np.abs(found[i, j] - sum_per_scale(plain, (2, 3, 5)).numpy()).max() < 1e-3
