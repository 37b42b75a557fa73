import copy

import numpy as np
import pytest
import torch
from torch import nn

from varc.baselines.convnet import ConvNetConfig, convnet, convnet_predictions
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.scoring.likelihood import score
from varc.training.incremental import (
    Learned,
    NewClasses,
    accuracies,
    class_order,
    consolidate,
    funnel_predictions,
    learn_convnet,
    learn_var,
    log_likelihoods,
)

CPU = torch.device("cpu")
TRAIN = {"batch_size": 8, "lr": 1e-2}
CCA = {"beta": 0.1, "lambda": 2.0, "batch_size": 8, "lr": 1e-3, "accumulate": 1, "precision": "float32"}
TASKS = [[0, 3], [1, 2]]


def small():
    torch.manual_seed(0)
    var = VAR(VARConfig(1, 16, 2, 4, 16, 4, (1, 2))).eval().requires_grad_(False)
    for p in var.parameters():
        nn.init.normal_(p, std=0.2)
    quantizer = MultiScaleQuantizer(16, 4, (1, 2)).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    tokens = rng.integers(0, 16, (1, 60, 5)).astype(np.uint16)
    tokens[..., :3] = labels[None, :, None]  # they tell the class
    return var, quantizer, tokens, labels


def states(strategy, tokens=None):
    var, quantizer, own, labels = small()
    tokens = own if tokens is None else tokens
    return list(learn_var(strategy, TASKS, var, quantizer, tokens, labels, TRAIN, CCA, lambda n, kind: 15, 0, CPU))


def scores_of_task_1(learned):
    _, quantizer, tokens, _ = small()
    return log_likelihoods(learned, quantizer, tokens[0], np.tile(np.array([0, 3], np.int32), (60, 1)))


@pytest.mark.parametrize("strategy", ["var_embeddings", "var_adapters"])
def test_old_log_likelihoods_stay_bit_equal(strategy):
    first, second = states(strategy)
    assert np.array_equal(scores_of_task_1(first), scores_of_task_1(second))
    assert [m.classes for m in second] == [[0, 3], [1, 2]]


def test_training_everything_on_changes_old_log_likelihoods():
    first, second = states("var_sequential")
    assert np.abs(scores_of_task_1(first) - scores_of_task_1(second)).max() > 0.1


@pytest.mark.parametrize("strategy", ["var_sequential", "var_embeddings", "var_adapters", "var_joint"])
def test_new_classes_are_learned(strategy):
    _, quantizer, tokens, labels = small()
    second = states(strategy)[1]
    new = np.isin(labels, [1, 2])
    predictions = funnel_predictions(
        second, quantizer, [tokens[0, new]], [1, 2], [{"scales": 2, "samples": 1, "keep": 1}]
    )
    assert (predictions == labels[new]).mean() > 0.9


def test_only_the_images_of_a_task_are_seen_in_it():
    _, _, tokens, labels = small()
    other = tokens.copy()
    other[:, np.isin(labels, [1, 2])] = 7
    a, b = states("var_sequential"), states("var_sequential", other)
    assert np.array_equal(scores_of_task_1(a[0]), scores_of_task_1(b[0]))
    assert not np.array_equal(scores_of_task_1(a[1]), scores_of_task_1(b[1]))


def test_new_classes_start_as_the_unconditional_one_and_merge_exactly():
    var, quantizer, tokens, _ = small()
    new = NewClasses(var, [1, 2], rank=2, seed=0)
    names = dict(new.named_parameters())
    assert names["rows"].shape == (2, 16) and len(names) == 1 + 2 * 5  # qkv, proj, fc1, fc2 and adaLN of one block
    merged = new.merged()
    candidates = np.tile(np.array([0, 1, 4], np.int32), (60, 1))  # old, new, unconditional
    before, after = (score(m, quantizer, tokens[0], candidates, device=CPU).sum(-1) for m in (var, merged))
    assert np.array_equal(after[:, [0, 2]], before[:, [0, 2]])
    assert np.abs(after[:, 1] - before[:, 2]).max() < 1e-4
    for p in new.b.values():
        nn.init.normal_(p)
    batch = torch.from_numpy(tokens[0, :4].astype(np.int64))
    labels, teacher_input = torch.tensor([1, 2, 1, 0]), quantizer.teacher_input(batch)
    assert torch.allclose(new(labels, teacher_input), new.merged()(labels, teacher_input), atol=1e-5)


def test_each_candidate_is_scored_by_the_model_that_learned_it():
    var, quantizer, tokens, _ = small()
    other = NewClasses(var, [1, 2], rank=2, seed=0)
    nn.init.normal_(other.rows)
    candidates = np.array([[0, 1], [1, 2], [0, 3]], np.int32)
    found = log_likelihoods(
        [Learned(var, [0, 3]), Learned(other.merged(), [1, 2])], quantizer, tokens[0, :3], candidates
    )
    plain = [score(m, quantizer, tokens[0, :3], candidates, device=CPU).sum(-1) for m in (var, other.merged())]
    expected = np.where(np.isin(candidates, [0, 3]), *plain)
    assert np.abs(found - expected).max() < 1e-4


def test_the_funnel_by_hand():
    var, quantizer, tokens, _ = small()
    samples = [tokens[0], np.roll(tokens[0], 1, axis=0)]
    stages = [{"scales": 1, "samples": 1, "keep": 2}, {"scales": 2, "samples": 2, "keep": 1}]
    found = funnel_predictions([Learned(var, [0, 1, 2, 3])], quantizer, samples, [0, 1, 3], stages)
    classes = np.array([0, 1, 3], np.int32)
    full = np.stack([score(var, quantizer, s, np.tile(classes, (60, 1)), device=CPU) for s in samples])
    kept = np.argsort(-full[0, ..., 0], axis=1, kind="stable")[:, :2]
    final = np.take_along_axis(full.sum(-1).mean(0), kept, 1)
    assert (found == classes[kept[np.arange(60), final.argmax(1)]]).all()


def test_tasks_part_the_classes_and_the_seed_orders_them():
    orders = [class_order(range(10), 5, seed) for seed in (0, 1)]
    for tasks in orders:
        assert sorted(c for task in tasks for c in task) == list(range(10)) and {len(t) for t in tasks} == {2}
    assert orders[0] != orders[1] and class_order(range(10), 5, 0) == orders[0]


def test_cwr_copies_head_rows_less_their_mean():
    net = convnet(ConvNetConfig(8, 4), 0)
    head, bias = torch.zeros(4, 128), torch.zeros(4)
    head[0] = 5.0
    consolidate(net, head, bias, [1, 3])
    mean = (net.head.weight[1] + net.head.weight[3]) / 2
    assert torch.allclose(head[1], net.head.weight[1] - mean) and torch.allclose(head[3], net.head.weight[3] - mean)
    assert bias[1] == pytest.approx(-bias[3].item()) and (head[0] == 5).all() and (head[2] == 0).all()


def stripes():
    """Images of four classes: bright in one quarter each."""
    torch.manual_seed(0)
    labels = np.arange(80) % 4
    images = torch.rand(80, 3, 8, 8) - 1
    for i, y in enumerate(labels):
        images[i, :, 4 * (y // 2) : 4 * (y // 2) + 4, 4 * (y % 2) : 4 * (y % 2) + 4] += 1
    return images, labels


def test_none_forgets_joint_does_not_and_cwr_freezes_its_features():
    images, labels = stripes()

    def after_both(strategy):
        states = [copy.deepcopy(s) for s in learn_convnet(strategy, TASKS, images, labels, lambda n: 60, seed=0)]

        def predict(net, which, classes):
            return convnet_predictions(net, images[torch.from_numpy(which)], classes)

        return *states, accuracies(states, TASKS, labels, predict, lambda line: None)["accuracy"]

    assert after_both("joint")[2] == [1.0, 1.0, 1.0]
    _, _, found = after_both("none")
    assert found[0] == 1.0 and found[1] < 0.5 and found[2] == 1.0
    first, second, _ = after_both("cwr")
    assert torch.equal(first.hidden.weight, second.hidden.weight)
    assert torch.equal(first.head.weight[[0, 3]], second.head.weight[[0, 3]])


def test_accuracies_by_hand():
    labels, tasks = np.array([4, 1, 4, 2]), [[4], [1, 2]]
    asked = []

    def predict(state, which, classes):
        asked.append((state, which.tolist(), classes))
        return np.full(which.sum(), 4) if state == "a" else np.array([4, 1, 1, 1])

    found = accuracies(iter("ab"), tasks, labels, predict, lambda line: None)
    assert asked == [("a", [True, False, True, False], [4]), ("b", [True] * 4, [1, 2, 4])]
    assert found == {
        "after_task": [0, 1, 1],
        "on_task": [0, 0, 1],
        "images": [2, 2, 2],
        "accuracy": [1.0, 0.5, 0.5],
    }
