import numpy as np
import torch
from parity import models, reference
from torch import nn

from varc.data.preprocess import to_input
from varc.explain.judges import network_judge, varc_judge

CPU = torch.device("cpu")


def test_the_model_judges_by_its_log_likelihoods():
    (vqvae, var), ref = models(), reference()
    classes = np.array([-1, 3, 7], np.int32)
    found = varc_judge(vqvae, var, classes, CPU)(ref["images"])
    expected = ref["log_prob_per_scale"].sum(-1)[:, [20, 3, 7]]
    assert np.abs(found - expected).max() < 1e-2


def test_a_network_judges_by_the_logits_of_the_data_sets_classes():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), dtype=np.uint8)
    found = network_judge(net, np.array([1, 4], np.int32), CPU)(images)
    with torch.no_grad():
        assert np.allclose(found, net(to_input(images))[:, [1, 4]].numpy())
