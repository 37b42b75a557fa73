import numpy as np

from varc.learning.tasks import accuracies, class_order


def test_tasks_part_the_classes_and_the_seed_orders_them():
    orders = [class_order(range(10), 5, seed) for seed in (0, 1)]
    for tasks in orders:
        assert sorted(c for task in tasks for c in task) == list(range(10)) and {len(t) for t in tasks} == {2}
    assert orders[0] != orders[1] and class_order(range(10), 5, 0) == orders[0]


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
