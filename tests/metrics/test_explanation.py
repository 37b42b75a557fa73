import numpy as np
import pandas as pd
import pytest

from varc.metrics.explanation import (
    Curves,
    auc_row,
    bootstrap_interval,
    judge_agrees,
    rank_correlation,
    read_curves,
    with_paper,
)
from varc.storage import curves_schema, fixed_size_list, write_parquet


def curves(probabilities):
    """Curves (N, points) of the target's probability, of two classes."""
    p = np.array(probabilities, float)
    return Curves(
        np.arange(len(p)).astype(str).astype(object),
        np.zeros(len(p), int),
        np.stack([np.log(p), np.log(1 - p)], axis=-1),
    )


def test_areas_and_paired_differences():
    found = auc_row(curves([[0.2, 0.4, 0.6], [0.4, 0.8, 0.8]]), 1.0, curves([[0.2, 0.2, 0.2], [0.3, 0.3, 0.3]]))
    assert found["auc"] == pytest.approx((0.4 + 0.7) / 2)
    assert (found["auc_low"], found["auc_high"]) == (pytest.approx(0.4), pytest.approx(0.7))
    assert found["vs_random"] == pytest.approx((0.2 + 0.4) / 2)
    assert (found["vs_random_low"], found["vs_random_high"]) == (pytest.approx(0.2), pytest.approx(0.4))
    assert found["vs_random_p"] == pytest.approx(2 * 0.102416, rel=1e-4)  # t = 0.3 / 0.1 with one degree of freedom


def test_a_map_with_the_random_maps_curves_does_not_differ():
    same = curves([[0.2, 0.4, 0.6], [0.4, 0.8, 0.8]])
    assert auc_row(same, 1.0, same)["vs_random_p"] == 1.0
    assert "vs_random_p" not in auc_row(same, 1.0, None)


def test_a_high_temperature_makes_every_curve_a_half():
    assert auc_row(curves([[0.01, 0.99]]), 1e9, None)["auc"] == pytest.approx(0.5)


def test_the_interval_is_the_bootstraps():
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    assert low < values.mean() < high


def test_agreement_at_the_whole_image():
    found = curves([[0.1, 0.9], [0.9, 0.2]])
    assert (judge_agrees(found, -1), judge_agrees(found, 0)) == (0.5, 0.5)
    assert judge_agrees(curves([[0.1, 0.9], [0.1, 0.8]]), -1) == 1.0


def test_rank_correlation_by_hand():
    a = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    assert rank_correlation(a, a) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    assert rank_correlation(a, np.array([[10.0, 30.0, 20.0], [5.0, 5.0, 5.0]])) == pytest.approx((0.5 + 0.0) / 2)


def test_curves_are_read_by_kind_over_shards(tmp_path):
    for shard, ids in enumerate((["a", "b"], ["c"])):
        kinds = [("insertion", "blur"), ("deletion", "mean")]
        values = np.stack([np.full(6, 10 * k + shard, float) for k, _ in enumerate(kinds) for _ in ids])
        columns = {
            "image_id": ids * 2,
            "curve": [curve for curve, _ in kinds for _ in ids],
            "substrate": [ground for _, ground in kinds for _ in ids],
            "target": np.array([3, 8, 3][: len(ids)] * 2, np.int32),
            "scores": fixed_size_list(values),
        }
        write_parquet(tmp_path / f"{shard}.parquet", columns, curves_schema(3, 2), {"class_ids": [3, 8]})
    found = read_curves([tmp_path / "0.parquet", tmp_path / "1.parquet"], "deletion", "mean")
    assert found.image_ids.tolist() == ["a", "b", "c"] and found.target.tolist() == [0, 1, 0]
    assert found.scores.shape == (3, 3, 2) and found.scores[:, 0, 0].tolist() == [10.0, 10.0, 11.0]


def test_the_papers_figures_stand_beside_its_own_method_only(tmp_path):
    (tmp_path / "p.csv").write_text(
        "dataset,classifier,top1\nexplanation,insertion,0.944\nexplanation,deletion,0.605\n"
    )
    rows = [("tmi", "varc", 1.0, "insertion"), ("tmi", "varc", 1.0, "deletion"), ("tmi", "cnn", 1.0, "insertion")]
    table = pd.DataFrame(
        [*rows, ("lime", "varc", 1.0, "insertion")], columns=["method", "judge", "temperature", "curve"]
    )
    found = with_paper(table, str(tmp_path / "p.csv"))["paper_auc"]
    assert found[:2].tolist() == [0.944, 0.605] and found[2:].isna().all()
    assert "paper_auc" not in with_paper(table, None)
