import numpy as np
import pytest
import torch
from torch import nn

from varc.learning.var import Learned, Lessons, NewClasses, Training, funnel_predictions, learn_var, log_likelihoods
from varc.models.quantizer import MultiScaleQuantizer
from varc.models.var import VAR, VARConfig
from varc.scoring.likelihood import score

CPU = torch.device("cpu")
CROSS_ENTROPY = {"steps": 30, "batch_size": 8, "lr": 1e-2}
CCA = CROSS_ENTROPY | {"beta": 0.1, "lambda": 2.0, "lr": 1e-3, "accumulate": 1, "precision": "float32"}
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
    return list(learn_var(strategy, var, quantizer, Lessons(TASKS, tokens, labels), Training(CROSS_ENTROPY, CCA, 0)))


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
