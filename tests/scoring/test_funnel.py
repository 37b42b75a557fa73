import numpy as np
import pytest

from varc.errors import InputError
from varc.scoring.funnel import (
    Scores,
    all_classes,
    label_ranks,
    over_samples,
    predict,
    prune,
    ranks,
    read_candidates,
    read_per_scale,
    read_scores,
    select,
)
from varc.storage import CANDIDATES, fixed_size_list, scores_schema, write_parquet

IDS = np.array(["a", "b"], dtype=object)


def scores(class_ids, values, ids=IDS):
    return Scores(ids, np.array(class_ids, np.int32), np.array(values, float))


ALL = scores([[2, 5, 7, 9]] * 2, [[-3.0, -1.0, -2.0, -4.0], [-1.0, -1.0, -0.5, -9.0]])


def test_ranks_with_ties_to_the_smaller_class_id():
    assert ranks(ALL).tolist() == [[3, 1, 2, 4], [2, 3, 1, 4]]


def test_prune_keeps_the_best_in_order():
    kept = prune(ALL, 2)
    assert kept["image_id"].tolist() == ["a", "a", "b", "b"]
    assert kept["class_id"].tolist() == [5, 7, 7, 2]
    assert kept["rank"].tolist() == [1, 2, 1, 2]
    assert kept["score"].tolist() == [-1.0, -2.0, -0.5, -1.0]


def test_prune_keeps_all_where_there_are_fewer():
    assert prune(ALL, 99)["class_id"].tolist() == [5, 7, 2, 9, 7, 2, 5, 9]


def test_select_takes_each_rows_own_candidates():
    found = select(ALL, np.array([[5, 9], [2, 7]]))
    assert found.log_likelihood.tolist() == [[-1.0, -4.0], [-1.0, -0.5]]
    for missing in ([[5, 8], [2, 7]], [[5, 99], [2, 7]]):
        with pytest.raises(InputError, match="not all scored"):
            select(ALL, np.array(missing))


def test_over_samples_takes_the_clean_scores_of_an_earlier_stage():
    noisy = scores([[5, 9], [2, 7]], [[-3.0, -2.0], [-2.0, -1.5]])
    mean = over_samples([ALL, noisy])
    assert mean.class_ids.tolist() == [[5, 9], [2, 7]]
    assert mean.log_likelihood.tolist() == [[-2.0, -3.0], [-1.5, -1.0]]


def test_samples_of_other_images_are_refused():
    other = Scores(IDS[::-1], ALL.class_ids, ALL.log_likelihood)
    with pytest.raises(InputError, match="different images"):
        over_samples([ALL, other])


def test_predict():
    second = scores([[5, 7], [2, 7]], [[-6.0, -5.5], [-2.0, -4.0]])
    found = predict([ALL, second], np.array([7, 5]), {})
    assert found["prediction"].tolist() == [7, 2]
    assert found["score"].tolist() == [-5.5, -2.0]
    assert found["runner_up"].tolist() == [5, 7]
    assert found["margin"].tolist() == [0.5, 2.0]
    assert found["rank_stage1"] == [2, 3]
    assert found["rank_stage2"] == [1, None]


def test_predict_with_one_candidate_has_no_margin():
    found = predict([scores([[4], [4]], [[-1.0], [-2.0]])], np.array([4, 3]), {})
    assert found["prediction"].tolist() == [4, 4]
    assert found["runner_up"] == found["margin"] == [None, None]
    assert found["rank_stage1"] == [1, None]


def test_predictions_do_not_depend_on_the_order_of_classes():
    rng = np.random.default_rng(0)
    values, class_ids = rng.normal(size=(50, 8)), np.arange(8)
    labels = rng.integers(0, 8, 50)
    ids = np.array([f"i{i}" for i in range(50)], dtype=object)
    plain = predict([scores([class_ids] * 50, values, ids)], labels, {})
    renaming = rng.permutation(8)  # class c is called renaming[c]
    order = np.argsort(renaming)
    renamed = predict([scores([class_ids] * 50, values[:, order], ids)], renaming[labels], {})
    assert renamed["prediction"].tolist() == renaming[plain["prediction"]].tolist()
    assert renamed["rank_stage1"] == plain["rank_stage1"]


def test_label_ranks_by_hand():
    assert label_ranks(ALL, np.array([9, 3]), {}) == [4, None]


def test_a_prediction_is_right_if_it_stands_for_the_label():
    """ALL's classes 5 and 7 are one class of the data set, called 5, and so are 2 and 9, called 2."""
    label_of = {5: 5, 7: 5, 2: 2, 9: 2}
    plain = [label_ranks(ALL, np.array([i, i]), {}) for i in (5, 7, 2, 9)]
    grouped = [label_ranks(ALL, np.array([i, i]), label_of) for i in (5, 2)]
    assert grouped[0] == [min(a, b) for a, b in zip(plain[0], plain[1], strict=True)]
    assert grouped[1] == [min(a, b) for a, b in zip(plain[2], plain[3], strict=True)]
    found = predict([ALL], np.array([5, 2]), label_of)
    assert found["prediction"].tolist() == predict([ALL], np.array([5, 2]), {})["prediction"].tolist()
    assert found["rank_stage1"] == [grouped[0][0], grouped[1][1]]


def write_scores(path, class_ids, per_scale):
    per_scale = np.asarray(per_scale, float)
    columns = {
        "image_id": np.repeat(IDS, len(class_ids[0])),
        "class_id": np.array(class_ids, np.int32).ravel(),
        "log_likelihood": per_scale.sum(-1).ravel(),
        "per_scale": fixed_size_list(per_scale.reshape(-1, per_scale.shape[-1])),
    }
    write_parquet(path, columns, scores_schema(per_scale.shape[-1]), {"images": 2})


def test_scores_are_read_as_written(tmp_path):
    per_scale = np.arange(12.0).reshape(2, 3, 2)
    write_scores(tmp_path / "0.parquet", [[1, 4, 6]] * 2, per_scale)
    found = read_scores(tmp_path / "0.parquet")
    assert found.image_ids.tolist() == ["a", "b"]
    assert found.class_ids.tolist() == [[1, 4, 6]] * 2
    assert found.log_likelihood.tolist() == per_scale.sum(-1).tolist()
    assert read_per_scale(tmp_path / "0.parquet").tolist() == per_scale.tolist()


def test_scores_that_are_not_finite_are_refused(tmp_path):
    write_scores(tmp_path / "0.parquet", [[1, 4]] * 2, [[[1.0], [2.0]], [[np.nan], [0.0]]])
    with pytest.raises(InputError, match=r"0\.parquet: holds log-likelihoods that are not finite"):
        read_scores(tmp_path / "0.parquet")


def test_candidates_are_read_in_ascending_order_for_the_same_images(tmp_path):
    path = tmp_path / "0.parquet"
    write_parquet(path, prune(ALL, 2), CANDIDATES, {"images": 2})
    assert read_candidates(path, IDS).tolist() == [[5, 7], [2, 7]]
    with pytest.raises(InputError, match="other images"):
        read_candidates(path, IDS[::-1])


def test_all_classes_are_those_of_the_list_and_known_to_the_model():
    card = {"architecture": {"num_classes": 10}}
    assert all_classes([2, 9], 3, card).tolist() == [[2, 9]] * 3
    with pytest.raises(InputError, match=r"class_id 10 .* 0 to 9 only"):
        all_classes([2, 10], 3, card)
