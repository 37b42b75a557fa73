"""The sanity rows: against scikit-learn and closed forms."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from varc.baselines import knn, logistic_regression, nearest_mean, resnet, vae
from varc.baselines.family import Images, images_seen
from varc.data.tensors import to_input
from varc.errors import InputError

SIDE = 4


def data(n, classes, seed=0):
    """Noisy pictures (n, SIDE, SIDE, 3), one mean picture a class, and their labels (n,), every class among them."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(9).integers(60, 190, (classes, SIDE, SIDE, 3))
    labels = np.arange(n) % classes
    return np.clip(means[labels] + rng.normal(0, 60, (n, SIDE, SIDE, 3)), 0, 255).astype(np.uint8), labels


def flat(images):
    return to_input(images).flatten(1).numpy().astype(np.float64)


def fitted(kind, shape, training, images, labels, classes, seed=0):
    torch.manual_seed(seed)
    model = kind.build(shape, classes)
    kind.train(model, images, labels, training, seed, lambda line: None)
    return model


def scores(kind, model, images, scoring, candidates):
    ids = np.array([str(i) for i in range(len(images))], dtype=object)
    tiled = np.tile(np.array(candidates, np.int32), (len(images), 1))
    return kind.score(model, Images(images, ids, 0), tiled, scoring, None)


def nearest(images, labels, classes):
    return fitted(nearest_mean, nearest_mean.Shape(SIDE), nearest_mean.Training(), images, labels, classes)


def logistic(images, labels, classes, c=1.0, most=10**6):
    training = logistic_regression.Training(most, 500, c)
    return fitted(logistic_regression, logistic_regression.Shape(SIDE), training, images, labels, classes)


def remembering(images, labels, memory, classes=3, seed=0):
    return fitted(knn, knn.Shape(SIDE, memory), knn.Training(), images, labels, classes, seed)


CASES = {
    "nearest_mean": (nearest_mean, nearest, nearest_mean.Scoring()),
    "logistic_regression": (logistic_regression, logistic, logistic_regression.Scoring()),
    "knn": (knn, lambda images, labels, classes: remembering(images, labels, len(images), classes), knn.Scoring(5)),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_do_not_depend_on_batch_order_or_the_other_candidates(name):
    kind, fit, scoring = CASES[name]
    model, images = fit(*data(60, 3), 3), data(7, 3, seed=1)[0]
    together = scores(kind, model, images, scoring, [0, 1, 2])
    assert together.dtype == np.float64
    assert np.allclose(scores(kind, model, images[::-1], scoring, [2, 0]), together[::-1, [2, 0]], atol=1e-5)
    assert np.allclose(scores(kind, model, images[3:4], scoring, [1]), together[3:4, [1]], atol=1e-5)


def test_the_nearest_mean_is_scikit_learns_and_its_scores_are_differences_of_distances():
    (images, labels), test = data(60, 3), data(40, 3, seed=1)[0]
    found = scores(nearest_mean, nearest(images, labels, 3), test, nearest_mean.Scoring(), [0, 1, 2])
    expected = NearestCentroid().fit(flat(images), labels)
    assert np.array_equal(found.argmax(1), expected.predict(flat(test)))
    distances = ((flat(test)[:, None] - expected.centroids_) ** 2).sum(-1)
    assert np.allclose(found[:, 0] - found[:, 2], (distances[:, 2] - distances[:, 0]) / 2, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_gives_scikit_learns_probabilities(classes):
    (images, labels), test = data(60, classes), data(40, classes, seed=1)[0]
    model = logistic(images, labels, classes, c=0.01)
    found = scores(logistic_regression, model, test, logistic_regression.Scoring(), range(classes))
    expected = LogisticRegression(C=0.01, max_iter=500).fit(flat(images).astype(np.float32), labels)
    probabilities = torch.from_numpy(found).softmax(1).numpy()
    assert np.allclose(probabilities, expected.predict_proba(flat(test)), atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_order_of_the_classes_does_not_matter_to_logistic_regression(classes):
    (images, labels), test = data(60, classes), data(20, classes, seed=1)[0]
    order = np.roll(np.arange(classes), 1)
    kind, scoring = logistic_regression, logistic_regression.Scoring()
    found = scores(kind, logistic(images, labels, classes), test, scoring, range(classes))
    renamed = scores(kind, logistic(images, order[labels], classes), test, scoring, order)
    assert np.allclose(found, renamed, atol=0.02)  # L-BFGS stops near the optimum


def test_k_nearest_neighbours_are_scikit_learns():
    (images, labels), test = data(60, 3), data(40, 3, seed=1)[0]
    found = scores(knn, remembering(images, labels, 60), test, knn.Scoring(5), [0, 1, 2])
    expected = KNeighborsClassifier(5, weights="distance").fit(images.reshape(60, -1).astype(float), labels)
    assert np.allclose(found, expected.predict_proba(test.reshape(40, -1).astype(float)))


def test_a_small_memory_holds_a_seeded_choice_with_the_right_labels():
    images, labels = data(60, 3)
    model, again, other = (remembering(images, labels, 20, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(model.images, again.images) and not torch.equal(model.images, other.images)
    positions = [next(i for i in range(60) if (images[i].ravel() == row).all()) for row in model.images.numpy()]
    assert len(set(positions)) == 20
    assert np.array_equal(labels[positions], model.labels.numpy())


def test_a_memory_larger_than_the_training_images_holds_them_all_and_nothing_else():
    (images, labels), test = data(60, 3), data(40, 3, seed=1)[0]
    model = remembering(images, labels, 90)
    expected = scores(knn, remembering(images, labels, 60), test, knn.Scoring(5), [0, 1, 2])
    assert np.array_equal(scores(knn, model, test, knn.Scoring(5), [0, 1, 2]), expected)
    knn.train(model, images[:20], labels[:20], knn.Training(), 0, print)  # a later task
    expected = scores(knn, remembering(images[:20], labels[:20], 20), test, knn.Scoring(5), [0, 1, 2])
    assert np.array_equal(scores(knn, model, test, knn.Scoring(5), [0, 1, 2]), expected)


@pytest.mark.parametrize(
    ("kind", "shape", "training", "seen"),
    [
        (vae, None, vae.Training(10, 4, 0.1), 3 * 10 * 4),  # of three classes, class_ids up to 994
        (resnet, None, resnet.Training(10, 4, 0.1), 10 * 4),
        (knn, knn.Shape(SIDE, 20), knn.Training(), 20),
        (logistic_regression, None, logistic_regression.Training(25, 9), 25),
        (nearest_mean, None, nearest_mean.Training(), 60),
    ],
)
def test_images_seen(kind, shape, training, seen):
    assert images_seen(kind, shape, training, np.array([0, 7, 994] * 20)) == seen


@pytest.mark.parametrize("name", ["nearest_mean", "logistic_regression"])
@pytest.mark.parametrize("absent", [0, 2, 3])
def test_a_class_without_images_never_wins(name, absent):
    kind, fit, scoring = CASES[name]
    images, labels = data(60, 4)
    model = fit(images[labels != absent], labels[labels != absent], 4)
    grey = np.full((2, SIDE, SIDE, 3), 128, np.uint8)
    found = scores(kind, model, np.concatenate([images, grey]), scoring, range(4))
    assert np.isfinite(found).all()
    assert (found.argmax(1) != absent).all()


def test_two_classes_of_which_only_others_have_images():
    images, labels = data(60, 2)
    model = logistic(images, np.array([1, 4])[labels], 5)
    found = scores(logistic_regression, model, images, logistic_regression.Scoring(), range(5))
    assert set(found.argmax(1)) == {1, 4}


def test_neighbours_refuse_a_class_that_they_never_saw():
    images, labels = data(60, 3)
    with pytest.raises(InputError, match="class_id 3 is in the class list"):
        scores(knn, remembering(images, labels, 60), images[:2], knn.Scoring(5), [0, 3])


def test_what_cannot_be_learned_is_refused():
    images, labels = data(60, 3)
    with pytest.raises(InputError, match="k: 21, but the memory holds 20 images"):
        scores(knn, remembering(images, labels, 20), images[:2], knn.Scoring(21), [0, 1])
    with pytest.raises(InputError, match="images: 1 of the training images are of one class"):
        logistic(images, labels, 3, most=1)
