from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from varc.baselines import nearest_mean, vae
from varc.baselines.family import Images
from varc.learning.families import learn_family, share_of_training, staged_predictions

CPU = torch.device("cpu")
TASKS = [[0, 3], [1, 2]]
SHAPE = vae.Shape(image_size=2, hidden=4, latent=2, sigma=0.4)
TRAINING = vae.Training(steps=12, batch_size=4, lr=1e-2)


def images_and_labels(n=48):
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % 4
    grey = np.clip(30 + 60 * labels[:, None, None, None] + 8 * rng.standard_normal((n, 2, 2, 1)), 0, 255)
    return np.repeat(grey.astype(np.uint8), 3, axis=3), labels


def learned(strategy, kind=vae, shape=SHAPE, training=TRAINING):
    """The weights after each task."""
    images, labels = images_and_labels()
    states = learn_family(strategy, kind, TASKS, shape, training, images, labels, 0, CPU)
    return [{name: t.clone() for name, t in model.state_dict().items()} for model in states]


def test_classes_trained_apart_learn_task_by_task_what_they_learn_at_once():
    sequential, joint = learned("family_sequential"), learned("family_joint")
    for after_each in zip(sequential, joint, strict=True):
        for name, found in after_each[0].items():
            assert torch.allclose(found, after_each[1][name], rtol=0, atol=1e-5)
    assert all(torch.equal(sequential[0][name][TASKS[0]], sequential[1][name][TASKS[0]]) for name in sequential[0])


def recorder(calls):
    """A family that writes down what it is trained on: how many images of which classes, in how many steps."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.trained = torch.nn.Buffer(torch.zeros(()))

    def train(model, images, labels, training, seed, report):
        calls.append((int(model.trained), len(images), sorted(set(labels.tolist())), training.steps))
        model.trained += 1

    return SimpleNamespace(build=lambda shape, classes: Model(), train=train)


def test_each_task_trains_on_and_joint_starts_again():
    calls = []
    learned("family_sequential", recorder(calls))
    assert calls == [(0, 24, [0, 3], 6), (1, 24, [1, 2], 6)]
    calls.clear()
    learned("family_joint", recorder(calls))
    assert calls == [(0, 24, [0, 3], 6), (0, 48, [0, 1, 2, 3], 12)]


def test_steps_are_in_proportion_to_the_images_unless_classes_are_trained_apart():
    other = SimpleNamespace()
    assert share_of_training(other, TRAINING, 1 / 3).steps == 4
    assert share_of_training(other, TRAINING, 1e-6).steps == 1
    assert share_of_training(vae, TRAINING, 1 / 3) == TRAINING
    assert share_of_training(nearest_mean, nearest_mean.Training(), 1 / 3) == nearest_mean.Training()


class Draws(NamedTuple):
    draws: int


def test_stages_keep_the_best_and_pass_on_their_scores():
    table = np.array([[0.0, 3.0, 1.0, 2.0], [5.0, 4.0, 1.0, 9.0]])
    seen = []

    def score(model, images, candidates, scoring, earlier):
        seen.append((candidates.tolist(), None if earlier is None else (earlier.scoring, earlier.scores.tolist())))
        return np.take_along_axis(table, candidates, 1) * (1 if earlier is None else -1)

    images = Images(np.zeros((2, 1, 1, 3), np.uint8), np.array(["a", "b"], dtype=object), 0)
    found = staged_predictions(SimpleNamespace(score=score), None, images, [3, 0, 1], [Draws(1), Draws(5)], keep=[2, 1])
    assert seen[0] == ([[0, 1, 3], [0, 1, 3]], None)
    assert seen[1] == ([[1, 3], [0, 3]], (Draws(1), [[3.0, 2.0], [5.0, 9.0]]))
    assert found.tolist() == [3, 0]


@pytest.mark.parametrize("classes", [[0, 3], [0, 1, 2, 3]])
def test_predictions_are_among_the_classes_seen(classes):
    images, labels = images_and_labels()
    model = vae.build(SHAPE, 4)
    found = staged_predictions(
        vae, model, Images(images, np.array([str(i) for i in labels], dtype=object), 0), classes, [vae.Scoring(2)], [1]
    )
    assert set(found.tolist()) <= set(classes)
