import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from varc.baselines.convnet import ConvNetConfig, cam_layer, convnet
from varc.baselines.family import family, seeded, settings
from varc.data.tensors import to_input
from varc.explain.gradients import grad_cam, saliency

SIDE, GRID = 12, 3
SHAPES = {
    "vit": {"image_size": SIDE, "patch_size": 4, "width": 16, "depth": 2, "heads": 2},
    "resnet": {"image_size": SIDE, "widths": [8, 12], "depths": [1, 1]},
}


def image(seed=3):
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def network(name):
    kind = family(name)
    return kind, seeded(kind.build, settings(kind.Shape, SHAPES[name]), 5, 0).eval().requires_grad_(False)


def test_saliency_of_a_linear_network_is_its_weights():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    found = saliency(net, image(), 2, GRID)
    largest = net[1].weight[2].detach().reshape(3, SIDE, SIDE).abs().amax(0)
    expected = largest.reshape(GRID, SIDE // GRID, GRID, SIDE // GRID).mean((1, 3))
    assert np.allclose(found, expected, atol=1e-6)


class Pooled(nn.Module):
    """A convolution, the mean over all places, and a linear head: the case that CAM was made for."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(6, 4)

    def forward(self, images):
        return self.head(self.conv(images).mean((2, 3)))


def test_grad_cam_before_mean_and_linear_head_adds_up_to_the_logit():
    net = Pooled().eval()
    net.head.bias.data.zero_()
    found = grad_cam(net, net.conv, image(), 2, GRID)  # 3x3 places: no resizing
    with torch.no_grad():
        places = net.conv(to_input(image()[None]))
        expected = torch.einsum("c,chw->hw", net.head.weight[2], places[0]) / GRID**2
        logit = net(to_input(image()[None]))[0, 2]
    assert np.allclose(found, expected, atol=1e-6)
    assert found.sum() == pytest.approx(float(logit), abs=1e-5)


@pytest.mark.parametrize("case", ["convnet", "resnet"])
def test_grad_cam_is_captums_where_that_applies(case):
    net = convnet(ConvNetConfig(SIDE, 5, 4, 8), 0).eval()
    layer, places = cam_layer(net), SIDE // 2
    if case == "resnet":
        kind, net = network(case)
        layer = kind.cam_layer(net)
    found = grad_cam(net, layer, image(), 3, places)
    expected = LayerGradCam(net, layer).attribute(to_input(image()[None]).requires_grad_(), target=3)[0, 0]
    assert expected.shape == (places, places)
    assert np.allclose(found, expected.detach(), atol=1e-6)
    assert (found < 0).any()  # not cut


def test_grad_cam_of_tokens_leaves_the_class_token_out_and_keeps_the_places():
    kind, net = network("vit")
    layer = kind.cam_layer(net)
    kept = {}
    layer.register_forward_hook(lambda module, inputs, output: kept.update(tokens=output))
    logit = net(to_input(image()[None]).requires_grad_())[0, 1]
    (slope,) = torch.autograd.grad(logit, kept["tokens"])
    weights, tokens = slope[0, 1:].mean(0), kept["tokens"][0, 1:].detach()
    assert slope[0, 1:].abs().max() > 0  # the patches still matter behind this layer
    found = grad_cam(net, layer, image(), 1, GRID)
    assert np.allclose(found.ravel(), tokens @ weights, atol=1e-6)  # row by row


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_maps_follow_class_and_image_and_leave_the_network_alone(name):
    kind, net = network(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    for method in (saliency, lambda net, *rest: grad_cam(net, kind.cam_layer(net), *rest)):
        first = method(net, image(), 1, GRID)
        assert first.shape == (GRID, GRID) and first.dtype == np.float32
        assert np.array_equal(first, method(net, image(), 1, GRID))
        assert not np.allclose(first, method(net, image(), 2, GRID))
        assert not np.allclose(first, method(net, image(4), 1, GRID))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(p.grad is None for p in net.parameters())
