import numpy as np
import pytest
import torch

from varc.baselines.family import Earlier, Images, seeded
from varc.baselines.meanflow import (
    MeanFlow,
    Scoring,
    Shape,
    Training,
    build,
    cost,
    draw_times,
    score,
    train,
    transformer,
    velocity_and_target,
)
from varc.baselines.pixels import planes

SHAPE = Shape(image_size=8, patch_size=2, width=16, depth=2, heads=2, channels=1)


def test_the_target_of_a_flow_whose_average_velocity_is_known():
    """z' = z has the average velocity z (1 - exp(r - t)) / (t - r) from z back to time r, which is its own target."""

    def average(z, t, labels, r):
        length = (t - r).view(-1, 1, 1, 1)
        return z * (1 - torch.exp(-length)) / length

    z = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    r, t = torch.tensor([0.1, 0.2, 0.3, 0.05, 0.5]), torch.tensor([0.5, 0.9, 0.4, 1.0, 0.7])
    u, target = velocity_and_target(average, z, r, t, z, torch.zeros(5))  # on the path, v is the flow's own: z
    assert torch.allclose(u, target, atol=1e-5)


def test_equal_times_give_the_velocity_of_the_path():
    v = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.2, 0.5, 0.9])
    _, target = velocity_and_target(lambda z, t, labels, r: z.square() * t.view(-1, 1, 1, 1), v, t, t, v, None)
    assert torch.equal(target, v)


def test_the_derivative_passes_through_the_transformer():
    model = seeded(build, SHAPE, 4, 0).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    model = model.double()
    z, v = torch.randn(2, 2, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    r, t, y, h = torch.tensor([0.1, 0.3]).double(), torch.tensor([0.6, 0.7]).double(), torch.tensor([0, 3]), 1e-3
    _, target = velocity_and_target(model, z, r, t, v, y)
    with torch.no_grad():
        change = (model(z + h * v, t + h, y, r) - model(z - h * v, t - h, y, r)) / (2 * h)
    expected = v - (t - r).view(-1, 1, 1, 1) * change
    assert torch.allclose(target, expected, atol=1e-2 * float(change.abs().max()))


def test_a_quarter_of_the_pairs_has_an_interval():
    r, t = draw_times(20_000, torch.Generator().manual_seed(0))
    assert (r <= t).all() and (r < t).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert t[r == t].min() > 0 and t.max() < 1


def test_scores_depend_on_neither_batch_nor_order(monkeypatch):
    model = seeded(build, SHAPE, 4, 0).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8).repeat(3, 3)
    ids, candidates = np.array(["a", "b", "c"], dtype=object), np.tile(np.arange(4, dtype=np.int32), (3, 1))
    for interval in ("instant", "average"):
        scoring = Scoring(draws=3, interval=interval)
        whole = score(model, Images(pixels, ids, 0), candidates, scoring, None)
        turned = score(model, Images(pixels[::-1], ids[::-1], 0), candidates[:, ::-1].copy(), scoring, None)
        assert np.allclose(turned[::-1, ::-1], whole, rtol=1e-4)
        with monkeypatch.context() as patched:
            patched.setattr("varc.baselines.dit.ROWS", 5)
            assert np.allclose(score(model, Images(pixels, ids, 0), candidates, scoring, None), whole, rtol=1e-4)


def test_training_tells_two_classes_apart_at_both_intervals():
    labels = np.random.default_rng(0).integers(0, 2, 400)
    pixels = (np.where(labels[:, None, None, None] == 1, 255, 0) * np.ones((1, 8, 8, 3))).astype(np.uint8)
    model = seeded(build, SHAPE, 2, 0)
    train(model, pixels, labels, Training(steps=150, batch_size=32, lr=0.01), 0, lambda line: None)
    given = Images(pixels[:20], np.array([f"i:{i}" for i in range(20)], dtype=object), 0)
    candidates = np.tile(np.arange(2, dtype=np.int32), (20, 1))
    for interval in ("instant", "average"):
        found = score(model, given, candidates, Scoring(draws=8, interval=interval), None)
        assert (found.argmax(1) == labels[:20]).all(), interval


def test_a_model_that_knows_the_velocity_of_one_class():
    class Knows(MeanFlow):
        def forward(self, z, t, labels, r=None):
            velocity = (z - self.x) / t.view(-1, 1, 1, 1)  # noise - x, the same all along the path
            return velocity + (labels != 2).to(z.dtype).view(-1, 1, 1, 1) * 0.5

    model = Knows(transformer(SHAPE, 1, 4))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8).repeat(3, 3)
    model.x = planes(pixels, 1)
    given, candidates = Images(pixels, np.array(["a"], dtype=object), 0), np.arange(4, dtype=np.int32)[None]
    for interval in ("instant", "average"):
        found = score(model, given, candidates, Scoring(draws=4, interval=interval), None)
        assert np.allclose(found[0], [-0.25, -0.25, 0, -0.25], atol=1e-4), interval


def test_two_stages_are_one_stage_of_all_draws():
    model = seeded(build, SHAPE, 4, 0).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8).repeat(3, 3)
    given, classes, kept = Images(pixels, np.array(["a"], dtype=object), 0), np.arange(4)[None], np.array([[3, 1]])
    for interval in ("instant", "average"):
        few, many = Scoring(draws=2, interval=interval), Scoring(draws=5, interval=interval)
        first = score(model, given, classes, few, None)
        both = score(model, given, kept, many, Earlier(few, first[:, [3, 1]]))
        assert np.allclose(both, score(model, given, classes, many, None)[:, [3, 1]], atol=1e-5)
        assert cost(SHAPE, 4, many, 2, few).passes == 2 * 3 * (2 if interval == "average" else 1)
    anew = score(model, given, kept, Scoring(draws=2), Earlier(few, first[:, [3, 1]]))  # few was the other interval
    assert np.allclose(anew, score(model, given, kept, Scoring(draws=2), None))


def test_passes_and_gflops():
    instant = cost(SHAPE, 4, Scoring(draws=25), 100, None)
    average = cost(SHAPE, 4, Scoring(draws=25, interval="average"), 100, None)
    assert instant.passes == 2500 and average.passes == 5000
    assert average.gflops == pytest.approx(2 * instant.gflops)
    tokens, width = 16, 16
    per_block = tokens * (12 * width**2 + 2 * 4 * width) + 6 * width**2  # adaLN once
    patch_embedding = tokens * 2 * 4 * width
    time = 256 * width + width**2
    head = tokens * (width * 4 + 4 * width) + 2 * width**2
    assert instant.gflops / 2500 * 1e9 == pytest.approx(2 * per_block + patch_embedding + time + head, rel=0.01)
