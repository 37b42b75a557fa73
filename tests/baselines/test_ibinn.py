import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from varc.baselines import ibinn
from varc.baselines.family import Images, seeded
from varc.baselines.weights import read_baseline, save_baseline
from varc.errors import InputError

TINY = ibinn.Shape(image_size=2, blocks=(2,), width=6, dense=6)
SMALL = ibinn.Shape(image_size=4, blocks=(1, 2), width=6, dense=8, channels=3)
GREY = ibinn.Shape(image_size=8, blocks=(1, 1), width=8, dense=8)


def model(shape, classes=3, seed=0, moved=0.5):
    """Far from its start, so that couplings and scales are not near the identity."""
    built = seeded(ibinn.build, shape, classes, seed)
    torch.manual_seed(1)
    with torch.no_grad():
        for p in built.flow.parameters():
            if p.requires_grad:
                p.add_(moved * torch.randn_like(p))
    return built.eval().requires_grad_(False)


def pictures(n, side, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.array([f"picture:{i}" for i in range(n)], dtype=object)
    return Images(rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8), ids, 0)


def all_classes(n, classes=3):
    return np.tile(np.arange(classes, dtype=np.int32), (n, 1))


@pytest.mark.parametrize("shape", [TINY, SMALL])
def test_the_flow_is_invertible_and_its_log_determinant_is_that_of_the_jacobian(shape):
    flow = model(shape).flow.double()
    x = torch.rand(3, shape.channels, shape.image_size, shape.image_size, dtype=torch.float64) * 2 - 1
    z, log_det = flow(x)
    assert torch.allclose(flow(z.clone(), rev=True)[0], x, atol=1e-5)  # the rotations are float32 ones
    for i in range(3):
        full = jacobian(lambda one: flow(one)[0].flatten(), x[i : i + 1]).reshape(z.shape[1], -1)
        assert float(log_det[i]) == pytest.approx(float(torch.linalg.slogdet(full)[1]), abs=1e-5)
    assert log_det.std() > 1e-3  # couplings scale by the image, not by a constant only


def test_the_density_of_every_class_integrates_to_one():
    net = model(TINY, moved=0.25)
    generator = torch.Generator().manual_seed(0)
    spread = 3.0
    x = spread * torch.randn(400_000, 1, 2, 2, generator=generator)
    log_q = -(x.flatten(1).double() / spread).square().sum(1) / 2 - 4 * math.log(spread * math.sqrt(2 * math.pi))
    mass = (net(x) - log_q[:, None]).exp()
    error = mass.std(0) / len(x) ** 0.5
    assert error.max() < 0.03
    assert ((mass.mean(0) - 1).abs() < 4 * error).all()


def test_the_latent_density_is_a_standard_normal_around_each_mean():
    z, means = torch.randn(5, 7), torch.randn(3, 7)
    normal = torch.distributions.Normal(means.double(), 1.0)
    expected = normal.log_prob(z.double()[:, None]).sum(2)
    assert torch.allclose(ibinn.log_normal(z, means), expected, atol=1e-10)


def test_the_loss_by_hand():
    log_p = torch.tensor([[-3.0, -4.0], [-6.0, -5.0]], dtype=torch.float64)
    found = ibinn.losses_of(log_p, torch.tensor([0, 0]), dimensions=8, beta=3.0)
    image = -(math.log((math.exp(-3) + math.exp(-4)) / 2) + math.log((math.exp(-6) + math.exp(-5)) / 2)) / 2 / 8
    label = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert float(found["image"]) == pytest.approx(image)
    assert float(found["label"]) == pytest.approx(label)
    assert float(found["loss"]) == pytest.approx((image + 3 * label) / 2)


@pytest.mark.parametrize("shape", [SMALL, GREY])
def test_scores_depend_on_neither_batch_nor_order_nor_candidates(monkeypatch, shape):
    net, images = model(shape), pictures(7, shape.image_size)
    full = ibinn.score(net, images, all_classes(7), ibinn.Scoring(), None)
    assert full.dtype == np.float64 and full.std() > 1
    order = np.array([3, 6, 0, 1, 5, 2, 4])
    turned = Images(images.pixels[order], images.image_ids[order], 0)
    monkeypatch.setattr(ibinn, "BATCH", 2)
    assert np.abs(ibinn.score(net, turned, all_classes(7), ibinn.Scoring(), None) - full[order]).max() < 1e-3
    some = np.tile(np.array([2, 0], np.int32), (7, 1))
    assert np.abs(ibinn.score(net, images, some, ibinn.Scoring(), None) - full[:, [2, 0]]).max() < 1e-3


def test_training_tells_classes_apart_and_knows_the_density_of_its_images():
    # Class 0 is dark, class 1 bright, both with normal noise of known entropy; class 2 has no images.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    grey = np.clip(80 + 90 * labels[:, None, None] + 24 * rng.standard_normal((600, 2, 2)), 0, 255)
    images = np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=3)
    net = seeded(ibinn.build, TINY, 3, 0)
    training = ibinn.Training(steps=400, batch_size=64, lr=0.03, beta=1.0, sigma=0.0)
    ibinn.train(net, images[:400], labels[:400].astype(np.int64), training, 0, lambda line: None)
    test = Images(images[400:], np.array([str(i) for i in range(200)], dtype=object), 0)
    scores = ibinn.score(net, test, all_classes(200)[:, :2], ibinn.Scoring(), None)
    assert (scores.argmax(1) == labels[400:]).mean() > 0.98
    entropy = 4 * (math.log(24 * 2 / 255) + 0.5 * math.log(2 * math.pi * math.e))
    own = scores[np.arange(200), labels[400:]].mean()
    assert -entropy - 0.2 < own < -entropy + 0.2


def test_weights_depend_on_the_seed_alone():
    np.random.seed(5)  # FrEIA's own permutations come from there
    first = seeded(ibinn.build, TINY, 3, 0).state_dict()
    np.random.seed(6)
    second, other = (seeded(ibinn.build, TINY, 3, seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["flow.module_list.1.w_perm"], other["flow.module_list.1.w_perm"])


def test_a_model_comes_back_from_its_file(tmp_path):
    net, images, shape = model(SMALL), pictures(3, 4), {**asdict(SMALL), "blocks": list(SMALL.blocks)}
    save_baseline(tmp_path / "net.safetensors", net, {"architecture": {"shape": shape, "num_classes": 3}})
    entry = {"family": "ibinn", "shape": shape, "train": {}}
    back, _ = read_baseline(ibinn, entry, tmp_path / "net.safetensors", {})
    found = [ibinn.score(m, images, all_classes(3), ibinn.Scoring(), None) for m in (net, back)]
    assert np.allclose(*found, rtol=1e-6)


def test_more_halvings_than_the_image_has_name_the_key():
    with pytest.raises(InputError, match="blocks: 3 levels halve the image as often, but 28 pixels"):
        ibinn.build(ibinn.Shape(image_size=28, blocks=(1, 1, 1), width=4, dense=4), 2)


def test_cost_by_hand():
    # The block on the Haar bands: 2 channels -> 6 -> 6 -> 4 on one pixel, zero padding counted.
    block = 2 * 6 * 9 + 6 * 6 * 9 + 6 * 4 + 4 * 4
    dense = 2 * 6 + 6 * 4  # each half from the other
    expected = 4 * 4 + 2 * block + 2 * dense + 4 * 3
    passes, gflops, attention = ibinn.cost(TINY, 3, ibinn.Scoring(), 3, None)
    assert (passes, attention) == (1, 0)
    assert gflops * 1e9 == pytest.approx(expected)
