from types import SimpleNamespace

import numpy as np
import pytest
import torch
from parity import models, reference
from torch import nn

from varc.baselines.family import columns, family, seeded
from varc.data.tensors import to_input
from varc.errors import InputError
from varc.explain.judges import baseline_judge, network_judge, varc_judge
from varc.seeded import image_generator

CPU = torch.device("cpu")


def test_the_model_judges_by_its_log_likelihoods():
    (vqvae, var), ref = models(), reference()
    classes = np.array([-1, 3, 7], np.int32)
    found = varc_judge(vqvae, var, classes, CPU)(ref["images"])
    expected = ref["log_prob_per_scale"].sum(-1)[:, [20, 3, 7]]
    assert np.abs(found - expected).max() < 1e-2


@pytest.mark.parametrize("unknown", [20, 1000, -2])
def test_a_class_that_the_model_lacks_is_no_class_at_all(unknown):
    """20 would be the row of the unconditional class."""
    with pytest.raises(InputError, match=f"class {unknown}: the model knows 0 to 19 only"):
        varc_judge(*models(), np.array([3, unknown], np.int32), CPU)


def test_a_network_judges_by_the_logits_of_the_data_sets_classes():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), dtype=np.uint8)
    found = network_judge(net, np.array([1, 4], np.int32), CPU)(images)
    with torch.no_grad():
        assert np.allclose(found, net(to_input(images))[:, [1, 4]].numpy())


def test_a_rival_judges_as_a_network_does_where_its_scores_are_logits():
    kind = family("resnet")
    model = seeded(kind.build, kind.Shape(8, (4, 8), (1, 1)), 5, 0).eval()
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    classes = np.array([1, 4], np.int32)
    found = baseline_judge(kind, model, kind.Scoring(), classes, 0)(images)
    assert np.allclose(found, network_judge(model, classes, CPU)(images), atol=1e-6)


def test_a_rival_that_draws_noise_judges_the_same_image_the_same_wherever_it_stands():
    def score(model, images, candidates, scoring, earlier):
        noise = np.array([image_generator(images.seed, "test", name).normal(size=5) for name in images.image_ids])
        return columns(noise + images.pixels.mean((1, 2, 3))[:, None], np.arange(5), candidates)

    images = np.stack([np.full((2, 2, 3), value, np.uint8) for value in (7, 9, 7)])
    classes = np.array([0, 3], np.int32)
    judge, other = (baseline_judge(SimpleNamespace(score=score), None, None, classes, seed) for seed in (0, 1))
    assert np.array_equal(judge(images)[0], judge(images)[2])
    assert np.allclose(judge(images)[1] - judge(images)[0], 2)
    assert np.array_equal(judge(images)[2:], judge(images[2:]))
    assert not np.array_equal(judge(images), other(images))
