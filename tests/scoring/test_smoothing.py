import threading

import numpy as np
import pytest
import torch

from varc.errors import InputError
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.scoring import smoothing
from varc.scoring.smoothing import absolute_sigma, encode, encode_batches, noise, tokenize

CPU = torch.device("cpu")
NOISE_OF_DIGITS_0 = [0.2947909, 0.4410109]
IDS = [f"digits:{i}" for i in range(40)]


@pytest.fixture(scope="module")
def vqvae():
    torch.manual_seed(0)
    config = VQVAEConfig((1, 2, 4), ch=8, ch_mult=(1, 2), num_res_blocks=1, z_channels=4, vocab_size=32, norm_groups=4)
    return VQVAE(config).eval()


def sampled(vqvae, features, ids, sample, seed=0, sigma=0.5, batch_size=7):
    return tokenize(
        vqvae.quantize, features, ids, sample=sample, sigma=sigma, seed=seed, batch_size=batch_size, device=CPU
    )


def test_noise_belongs_to_the_image_the_sample_and_the_seed():
    whole = noise(IDS, 1, 0, (4, 8, 8))
    turned = noise(IDS[::-1], 1, 0, (4, 8, 8))
    assert torch.equal(turned.flip(0), whole)
    assert torch.equal(noise(IDS[5:6], 1, 0, (4, 8, 8))[0], whole[5])
    others = (noise(IDS, 2, 0, (4, 8, 8)), noise(IDS, 1, 1, (4, 8, 8)), whole.roll(1, 0))
    for other in others:
        correlation = np.corrcoef(other.flatten(), whole.flatten())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(whole.numel())  # five standard errors


def test_noise_is_standard_normal():
    drawn = noise(IDS, 3, 7, (8, 16, 16)).double().flatten()
    n = len(drawn)
    assert abs(drawn.mean()) < 5 / n**0.5
    assert abs(drawn.square().mean() - 1) < 5 * (2 / n) ** 0.5
    assert abs((drawn.abs() < 1).double().mean() - 0.6827) < 5 * (0.22 / n) ** 0.5


def test_noise_of_one_image_is_fixed_for_ever():
    # changes only with a change of how noise is seeded, which would make every cached smoothed score stale
    assert noise(["digits:0"], 1, 0, (2,))[0].tolist() == pytest.approx(NOISE_OF_DIGITS_0, abs=1e-6)


def test_clean_tokens_are_those_of_the_features(vqvae):
    features = torch.randn(40, 4, 4, 4)
    with torch.inference_mode():
        plain = vqvae.quantize.quantize(features).numpy()
    for batch_size in (1, 7, 40):
        assert np.array_equal(sampled(vqvae, features, IDS, 0, batch_size=batch_size, seed=None), plain)


def test_smoothed_tokens_do_not_depend_on_shards_or_order(vqvae):
    features = torch.randn(40, 4, 4, 4)
    whole = sampled(vqvae, features, IDS, 2)
    halves = [sampled(vqvae, features[part], IDS[part], 2, batch_size=11) for part in (slice(0, 13), slice(13, 40))]
    assert np.array_equal(np.concatenate(halves), whole)
    assert np.array_equal(sampled(vqvae, features.flip(0), IDS[::-1], 2)[::-1], whole)
    assert not np.array_equal(sampled(vqvae, features, IDS, 1), whole)
    assert not np.array_equal(sampled(vqvae, features, IDS, 2, seed=1), whole)
    assert np.array_equal(sampled(vqvae, features, IDS, 2, sigma=0.0), sampled(vqvae, features, IDS, 0))


def test_tokens_are_to_the_bit_those_of_noise_that_is_drawn_in_turn(vqvae):
    features = torch.randn(40, 4, 4, 4)
    for batch_size in (1, 7, 40, 100):
        noisy = features + 0.5 * noise(IDS, 2, 0, (4, 4, 4))
        with torch.inference_mode():
            in_turn = [vqvae.quantize.quantize(f).numpy() for f in noisy.split(batch_size)]
        for _ in range(3):
            assert np.array_equal(sampled(vqvae, features, IDS, 2, batch_size=batch_size), np.concatenate(in_turn))


def test_the_noise_of_one_batch_is_drawn_ahead_in_one_thread(vqvae, monkeypatch):
    drawn, quantised = [], []

    def counted(image_ids, *rest):
        drawn.append((threading.current_thread(), list(image_ids)))
        return noise(image_ids, *rest)

    def quantize(f):
        quantised.append(len(f))
        assert len(drawn) <= len(quantised) + 1
        return torch.zeros(len(f), 21)

    monkeypatch.setattr(smoothing, "noise", counted)
    monkeypatch.setattr(vqvae.quantize, "quantize", quantize)
    sampled(vqvae, torch.zeros(40, 4, 4, 4), IDS, 1)
    assert [ids for _, ids in drawn] == [IDS[i : i + 7] for i in range(0, 40, 7)]
    assert len({thread for thread, _ in drawn} | {threading.main_thread()}) == 2
    drawn.clear()
    sampled(vqvae, torch.zeros(40, 4, 4, 4), IDS, 0)
    assert not drawn


def test_tokens_that_fail_leave_no_thread(vqvae, monkeypatch):
    def fails(f):
        raise RuntimeError("of the device")

    monkeypatch.setattr(vqvae.quantize, "quantize", fails)
    with pytest.raises(RuntimeError, match="of the device") as error:  # whose traceback keeps all that ran
        sampled(vqvae, torch.zeros(40, 4, 4, 4), IDS, 1)
    assert error.tb
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_features_of_batches_are_those_of_the_whole(vqvae):
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    batches = iter([images[:4], images[4:8], images[8:]])
    assert torch.equal(encode_batches(vqvae, batches, CPU)[0], encode(vqvae, images, 4, CPU))


def test_encode_does_not_depend_on_batch_size(vqvae):
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    whole = encode(vqvae, images, 9, CPU)
    assert whole.shape == (9, 4, 4, 4)
    assert torch.allclose(encode(vqvae, images, 2, CPU), whole, atol=1e-5)


def test_sigma_in_units_of_the_spread():
    assert absolute_sigma(0.1, None) == 0.1
    assert absolute_sigma({"spread": 0.2}, 3.0) == pytest.approx(0.6)
    with pytest.raises(InputError, match="feature_std"):
        absolute_sigma({"spread": 0.2}, None)
