import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from varc.baselines import vae
from varc.baselines.family import Earlier, Images, seeded
from varc.baselines.weights import read_baseline, save_baseline
from varc.errors import InputError

SHAPE = vae.Shape(image_size=3, hidden=8, latent=2, sigma=0.3)


def pictures(n, side=3, seed=0):
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, (n, side, side, 1), dtype=np.uint8)
    return Images(np.repeat(grey, 3, axis=3), np.array([f"picture:{i}" for i in range(n)], dtype=object), 0)


def model(classes=3, seed=0):
    return seeded(vae.build, SHAPE, classes, seed)


def all_classes(n, classes=3):
    return np.tile(np.arange(classes, dtype=np.int32), (n, 1))


def scores(net, images, samples, candidates=None, earlier=None):
    candidates = all_classes(len(images.pixels)) if candidates is None else candidates
    return vae.score(net, images, candidates, vae.Scoring(samples), earlier)


def linear(matrix, offset):
    """Layers that compute h @ matrix + offset: where all units are large, SiLU is the identity."""
    far, inputs = 1e3, len(matrix)
    wide = torch.eye(inputs, dtype=torch.float64)
    biases = [torch.full((inputs,), far).double(), torch.zeros(inputs).double(), offset - far * matrix.sum(0)]
    return [p[None] for w, b in zip([wide, wide, matrix], biases, strict=True) for p in (w, b[None])]


def linear_gaussian(exact=True):
    """p(z) = N(0, 1), p(x|z) = N(A z + b, sigma), with q(z|x) its posterior or a wider one beside it."""
    generator = torch.Generator().manual_seed(0)
    columns, _ = torch.linalg.qr(torch.randn(5, 2, generator=generator).double())
    a = columns * torch.tensor([1.5, 0.7]).double()
    b, sigma = torch.randn(5, generator=generator).double(), 0.4
    precision = 1 + a.square().sum(0) / sigma**2
    gain = a / sigma**2 / precision
    to_mean, offset = (gain, -b @ gain) if exact else (0.9 * gain, -b @ gain + 0.1)
    log_std = -precision.log() / 2 + (0 if exact else 0.2)
    encoder = linear(torch.cat([to_mean, torch.zeros(5, 2).double()], 1), torch.cat([offset, log_std]))
    covariance = a @ a.T + sigma**2 * torch.eye(5).double()
    x = torch.randn(4, 5, generator=generator).double()
    exact_log_p = torch.distributions.MultivariateNormal(b, covariance).log_prob(x)
    return encoder + linear(a.T, b), x[None], sigma, exact_log_p


def test_every_weight_is_the_exact_likelihood_where_q_is_the_posterior():
    parameters, x, sigma, exact = linear_gaussian()
    noise = torch.randn(1, 4, 6, 2, dtype=torch.float64)
    found = vae.log_weights(parameters, x, noise, sigma)
    assert torch.allclose(found, exact[:, None].expand(4, 6)[None], atol=1e-8)


def test_the_bound_grows_with_the_samples_towards_the_exact_likelihood():
    parameters, x, sigma, exact = linear_gaussian(exact=False)
    noise = torch.randn(1, 4, 40_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = vae.log_weights(parameters, x, noise, sigma)[0]
    means = [(weights.unflatten(1, (-1, n)).logsumexp(2) - math.log(n)).mean(1) for n in (1, 4, 40_000)]
    assert (means[0] < means[1] - 0.01).all() and (means[1] < means[2]).all()
    assert torch.allclose(means[2], exact, atol=0.03)


def test_the_loss_is_minus_the_mean_weight_of_one_sample():
    parameters, x, sigma, _ = linear_gaussian(exact=False)
    noise = torch.randn(1, 4, 100_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = -vae.log_weights(parameters, x, noise, sigma).mean()
    found = vae.negative_bound(parameters, x.repeat_interleave(100_000, 1), noise.flatten(1, 2), sigma)
    assert float(found) == pytest.approx(float(expected), abs=0.02)


def train(net, images, labels, seed=0, steps=20):
    vae.train(net, images, labels, vae.Training(steps=steps, batch_size=4, lr=1e-2), seed, lambda line: None)
    return [p.detach().clone() for p in net.layers]


def test_what_a_class_learns_depends_on_its_own_images_alone():
    images, labels = pictures(40).pixels, np.arange(40, dtype=np.int64) % 4
    fewer = labels < 2
    both = train(model(classes=4), images, labels), train(model(classes=2), images[fewer], labels[fewer])
    for of_four, of_two in zip(*both, strict=True):
        assert torch.allclose(of_four[:2], of_two, rtol=0, atol=1e-5)


def test_the_noise_of_training_has_nothing_of_the_first_weights(monkeypatch):
    shape, seen = vae.Shape(image_size=8, hidden=64, latent=16, sigma=0.3), []
    net = seeded(vae.build, shape, 1, 0)
    weights = net.layers[0].detach().flatten().double() * 64**0.5
    loss = vae.negative_bound
    monkeypatch.setattr(vae, "negative_bound", lambda p, x, noise, s: (seen.append(noise), loss(p, x, noise, s))[1])
    vae.train(net, pictures(40, 8).pixels, np.zeros(40, np.int64), vae.Training(3, 32, 0.001), 0, print)
    common = np.isin(torch.cat(seen).flatten().double().numpy().round(6), weights.numpy().round(6))
    assert common.mean() < 0.01


def test_learning_new_classes_later_leaves_the_old_ones_as_they_are():
    images, labels = pictures(40).pixels, np.arange(40, dtype=np.int64) % 4
    at_once, in_turn, old = model(classes=4), model(classes=4), labels < 2
    together = train(at_once, images, labels)
    first = train(in_turn, images[old], labels[old])
    second = train(in_turn, images[~old], labels[~old])
    for all_four, before, after, start in zip(together, first, second, model(classes=4).layers, strict=True):
        assert torch.equal(before[:2], after[:2]) and torch.equal(before[2:], start[2:])
        assert torch.allclose(all_four, after, rtol=0, atol=1e-5)
        assert not torch.equal(after[2:], start[2:])


def test_training_finds_the_class_of_digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.repeat((digits.images * 255 / 16).astype(np.uint8)[..., None], 3, axis=3)
    net = seeded(vae.build, vae.Shape(image_size=8, hidden=32, latent=4, sigma=0.4), 10, 0)
    vae.train(net, images[:1000], digits.target[:1000], vae.Training(150, 16, 5e-3), 0, lambda line: None)
    test = Images(images[1500:], np.array([str(i) for i in range(297)], dtype=object), 0)
    found = scores(net, test, 4, all_classes(297, 10))
    assert (found.argmax(1) == digits.target[1500:]).mean() > 0.85


def test_scores_depend_on_neither_batch_nor_order_nor_the_other_candidates(monkeypatch):
    net, images = model(), pictures(7)
    full = scores(net, images, 5)
    order = np.array([3, 6, 0, 1, 5, 2, 4])
    monkeypatch.setattr(vae, "BATCH", 2)
    turned = Images(images.pixels[order], images.image_ids[order], 0)
    assert np.allclose(scores(net, turned, 5), full[order], rtol=1e-6)
    some = np.array([[2, 0], [0, 1], [1, 2], [0, 2], [2, 1], [1, 0], [0, 1]], np.int32)
    assert np.allclose(scores(net, images, 5, some), np.take_along_axis(full, some, 1), rtol=1e-6)


def test_the_noise_is_an_images_own_and_the_same_for_all_classes():
    net, images = model(), pictures(1)
    with torch.no_grad():
        for p in net.layers:
            p[1] = p[0]
    found = scores(net, images, 3)
    assert found[0, 0] == found[0, 1] != found[0, 2]
    others = Images(images.pixels, np.array(["another"], dtype=object), 0), images._replace(seed=1)
    assert all(abs(scores(net, other, 3)[0, 0] - found[0, 0]) > 1e-4 for other in others)


def test_a_later_stage_takes_over_the_samples_of_an_earlier_one():
    net, images = model(), pictures(5)
    candidates = np.tile(np.array([2, 1], np.int32), (5, 1))
    first = scores(net, images, 3)
    for samples in (3, 10):  # nothing is taken over from a stage of as many samples
        earlier = Earlier(vae.Scoring(3), first[:, [2, 1]])
        found = scores(net, images, samples, candidates, earlier)
        assert np.allclose(found, scores(net, images, samples, candidates), rtol=1e-6)


def test_a_class_that_the_model_lacks_is_named():
    with pytest.raises(InputError, match="class_id 3 is in the class list"):
        scores(model(), pictures(1), 1, np.array([[1, 3]], np.int32))


def test_a_model_comes_back_from_its_file(tmp_path):
    net, images = model(), pictures(3)
    save_baseline(tmp_path / "net.safetensors", net, {"architecture": {"shape": asdict(SHAPE), "num_classes": 3}})
    entry = {"family": "vae", "shape": asdict(SHAPE), "train": {}}
    back, _ = read_baseline(vae, entry, tmp_path / "net.safetensors", {})
    assert np.allclose(scores(net, images, 2), scores(back, images, 2), rtol=1e-6)


def test_cost_by_hand():
    encoder, decoder = 9 * 8 + 8 * 8 + 8 * 4, 2 * 8 + 8 * 8 + 8 * 9
    for samples, earlier, new in ((5, None, 5), (5, vae.Scoring(2), 3), (5, vae.Scoring(5), 5)):
        found = vae.cost(SHAPE, 10, vae.Scoring(samples), 4, earlier)
        assert found.passes == 4 * new
        assert found.gflops * 1e9 == pytest.approx(4 * (encoder + new * decoder))
