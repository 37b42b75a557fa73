import numpy as np
import pytest
import torch

from varc.baselines import resnet
from varc.baselines.family import seeded
from varc.data.tensors import to_input
from varc.errors import InputError

RESNET50 = resnet.Shape(224, (256, 512, 1024, 2048), (3, 4, 6, 3), bottleneck=True, large_stem=True)
TINY = resnet.Shape(8, (4, 8), (1, 1))


def test_resnet_50_has_the_published_size_and_cost():
    with torch.device("meta"):
        model = resnet.build(RESNET50, 1000)
    assert sum(p.numel() for p in model.parameters()) == 25_557_032  # microsoft/resnet-50
    found = resnet.cost(RESNET50, 1000, resnet.Scoring(), 100, None)
    assert found.gflops == pytest.approx(4.1, abs=0.05)  # He et al. 2015 say 3.8 for the blocks' stride in the 1x1
    assert found[0] == 1 and found.attention_gflops == 0


def test_the_small_stem_keeps_the_resolution_and_costs_what_its_convolutions_do():
    model = seeded(resnet.build, TINY, 5, 0).eval()
    with torch.no_grad():
        h = model.net.resnet.embedder(torch.zeros(1, 3, 8, 8))
        assert h.shape == (1, 4, 8, 8)
        assert model.net.resnet.encoder.stages[0](h).shape == (1, 4, 8, 8)
        assert resnet.cam_layer(model)(h_after(model, h)).shape == (1, 8, 4, 4)
    places, half = 64, 16
    convolutions = places * 9 * (3 * 4 + 4 * 4 + 4 * 4) + half * (9 * (4 * 8 + 8 * 8) + 4 * 8)
    norms = 2 * (places * 4 * 3 + half * 8 * 3)  # fvcore: 2 a number, in eval mode
    found = resnet.cost(TINY, 5, resnet.Scoring(), 5, None).gflops * 1e9
    assert found == pytest.approx(convolutions + norms + 8 * 5 + half * 8, abs=1)


def h_after(model, h):
    return model.net.resnet.encoder.stages[0](h)


def test_the_network_sees_imagenets_normalisation():
    model = seeded(resnet.build, TINY, 5, 0)
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((images / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert np.allclose((to_input(images) - model.mean) / model.std, expected, atol=1e-5)


def test_the_running_means_are_in_the_state_dict():
    model = seeded(resnet.build, TINY, 5, 0)
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    before = {key: t.clone() for key, t in model.state_dict().items()}
    resnet.train(model, images, np.arange(20) % 5, resnet.Training(7, 8, 0.01), 0, lambda line: None)
    after = model.state_dict()
    counts = [key for key in after if key.endswith("num_batches_tracked")]
    assert counts and all(before[key] == 0 and after[key] == 7 for key in counts)
    assert all(not torch.equal(before[key], after[key]) for key in after if "running" in key)
    assert torch.equal(before["mean"], after["mean"])


def test_shapes_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(InputError, match="2 widths, but 1 depths"):
        resnet.build(resnet.Shape(8, (4, 8), (1,)), 5)
    with pytest.raises(InputError, match="large_stem: true"):
        resnet.load_public(tmp_path, TINY, 5)
