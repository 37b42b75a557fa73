import numpy as np
import pytest
import torch
from torch import nn

from varc.data.tensors import to_input
from varc.explain.attribution import attribute, control, gradient_shap, masked_images
from varc.explain.faithfulness import substrate

SIDE, GRID = 12, 3


def image():
    return np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def linear_case():
    """A score that weighs the patches' sums, and what each patch is worth: what the image adds over the blurred one."""
    weights = np.random.default_rng(1).normal(size=(GRID, GRID))
    pixels = np.kron(weights, np.ones((SIDE // GRID, SIDE // GRID)))[..., None] / 1000

    def score(images):
        return (images * pixels).sum((1, 2, 3), dtype=np.float64)

    gain = (image().astype(float) - substrate(image(), "blur")) * pixels
    worth = gain.reshape(GRID, SIDE // GRID, GRID, SIDE // GRID, 3).sum((1, 3, 4))
    return score, worth


def test_occlusion_and_kernel_shap_are_exact_for_a_linear_score():
    score, worth = linear_case()
    assert np.allclose(attribute("occlusion", image(), score, GRID, 0, "a", 0), worth, atol=1e-4)
    assert np.allclose(attribute("kernel_shap", image(), score, GRID, 100, "a", 0), worth, atol=1e-3)


def test_lime_finds_the_patches_of_a_linear_score():
    score, worth = linear_case()
    found = attribute("lime", image(), lambda images: 100 * score(images), GRID, 400, "a", 0)
    assert np.corrcoef(found.ravel(), worth.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("method", ["lime", "kernel_shap"])
def test_draws_follow_image_and_seed_and_leave_torchs_generator_alone(method):
    score, _ = linear_case()

    def found(image_id, seed):
        torch.rand(3)  # what was drawn before must not count
        return attribute(method, image(), lambda images: score(images) ** 2, GRID, 20, image_id, seed)

    torch.manual_seed(5)
    expected = torch.rand(7)[3:]
    torch.manual_seed(5)
    first = found("a", 0)
    assert torch.equal(torch.rand(4), expected)
    assert np.array_equal(first, found("a", 0))
    assert not np.array_equal(first, found("b", 0)) and not np.array_equal(first, found("a", 1))


def test_the_score_sees_whole_patches_of_image_or_ground_only():
    seen = []

    def score(images):
        seen.append(images)
        return np.zeros(len(images))

    attribute("kernel_shap", image(), score, GRID, 30, "a", 0)
    images = np.concatenate(seen).reshape(-1, GRID, SIDE // GRID, GRID, SIDE // GRID, 3)
    parts = [x.reshape(GRID, SIDE // GRID, GRID, SIDE // GRID, 3) for x in (image(), substrate(image(), "blur"))]
    is_image, is_ground = ((images == part).all((2, 4, 5)) for part in parts)
    assert (is_image | is_ground).all() and is_ground.any()


def test_the_budget_is_what_the_methods_use():
    counts = {}
    for method in ("lime", "kernel_shap", "occlusion"):
        asked = []

        def score(images, asked=asked):
            asked.append(len(images))
            return np.zeros(len(images))

        attribute(method, image(), score, GRID, 40, "a", 0)
        counts[method] = sum(asked)
    assert counts["occlusion"] == masked_images("occlusion", GRID, 40) == GRID * GRID + 1
    for method in ("lime", "kernel_shap"):
        assert 40 <= counts[method] <= masked_images(method, GRID, 40) + 1  # captum looks at one more for the shape


def test_expected_gradients_add_up_to_the_change_of_the_log_probability():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)).eval()
    net[1].weight.data *= 10
    found = gradient_shap(net, image(), 2, GRID, 4000, 0)
    with torch.no_grad():
        ends = net(to_input(np.stack([image(), substrate(image(), "blur")]))).log_softmax(1)[:, 2]
    assert found.shape == (GRID, GRID)
    assert found.sum() == pytest.approx(float(ends[0] - ends[1]), abs=0.02)
    assert abs(float(ends[0] - ends[1])) > 0.1


def test_gradient_shap_draws_by_the_seed_and_leaves_numpys_generator_alone():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)).eval()
    net[1].weight.data *= 10
    np.random.seed(5)
    expected = np.random.rand(4)
    np.random.seed(5)
    first = gradient_shap(net, image(), 2, GRID, 5, 0)
    assert np.array_equal(np.random.rand(4), expected)
    assert np.array_equal(first, gradient_shap(net, image(), 2, GRID, 5, 0))
    assert not np.array_equal(first, gradient_shap(net, image(), 2, GRID, 5, 1))


def test_controls():
    stripe = np.zeros((SIDE, SIDE, 3), np.uint8)
    stripe[:, SIDE // 2 - 1 :] = 255  # an edge in the middle column of patches
    edge = control("edge", stripe, GRID, "a", 0)
    assert (edge[:, 1] > 0).all() and (edge[:, [0, 2]] == 0).all()
    centre = control("centre", stripe, 4, "a", 0)
    assert np.allclose(centre, centre[::-1]) and np.allclose(centre, centre.T)
    assert centre[1, 1] == centre.max() > centre[0, 1] > centre[0, 0]
    inked = np.full((SIDE, SIDE, 3), 200, np.uint8)  # ink is what is not as the border, be it darker or lighter
    inked[4:8, 4:8] = 80
    ink = control("ink", inked, GRID, "a", 0)
    assert ink[1, 1] == 120 and ink.sum() == 120
    assert np.array_equal(ink, control("ink", 255 - inked, GRID, "a", 0))
    random = control("random", stripe, GRID, "a", 0)
    assert np.array_equal(random, control("random", image(), GRID, "a", 0))
    assert not np.array_equal(random, control("random", stripe, GRID, "b", 0))
