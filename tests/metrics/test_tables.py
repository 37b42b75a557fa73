import numpy as np
import pandas as pd
import pytest

from varc.costs.counting import Cost, ModelCosts
from varc.metrics.accuracy import wilson_interval
from varc.metrics.shown import as_markdown, shown
from varc.metrics.tables import (
    accuracy_row,
    gflops_rows,
    pruning_rows,
    with_plan,
    with_published,
    write_table,
)

PUBLIC = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
D16 = ModelCosts(
    Cost(107.866341376, 0.0),
    {6: Cost(18.820411392, 0.27), 10: Cost(139.97113344, 15.15)},
)


def funnel(*stages):
    """Stages from (scales, samples, keep, and how many samples are scored already)."""
    return [dict(zip(("scales", "samples", "keep", "reused"), stage, strict=True)) for stage in stages]


VARC = funnel((10, 1, 1, 0))
A_VARC_PLUS = funnel((6, 1, 10, 0), (10, 1, 3, 0), (10, 3, 1, 1))


def totals(stages, classes, key="gflops"):
    return gflops_rows("imagenet", classes, "c", stages, PUBLIC, D16)[-1][key]


def test_published_costs():
    # the paper's Table 1, ImageNet-100 and ImageNet-1k
    assert totals(VARC, 100) == pytest.approx(14105.0, abs=0.05)
    assert totals(VARC, 1000) == pytest.approx(140079.0, abs=0.05)
    assert totals(A_VARC_PLUS, 100) == pytest.approx(4649.4, abs=0.05)
    assert totals(A_VARC_PLUS, 1000) == pytest.approx(21587.7, abs=0.05)
    assert totals(funnel((10, 2, 1, 0)), 100) == pytest.approx(28102.1, abs=0.05)


def test_reused_clean_scores_are_not_computed_but_count_nominally():
    rows = gflops_rows("imagenet", 100, "a_varc_plus", A_VARC_PLUS, PUBLIC, D16)
    assert [row["stage"] for row in rows] == ["encoder", "stage1", "stage2", "stage3", "total"]
    assert [row["passes"] for row in rows] == [1, 100, 10, 9, 119]
    assert [row["tokens"] for row in rows] == [None, 91, 680, 680, None]
    assert rows[3]["gflops"] == pytest.approx(9 * 139.97113344)
    assert rows[3]["gflops_computed"] == pytest.approx(6 * 139.97113344)
    assert rows[4]["attention_gflops"] == pytest.approx(100 * 0.27 + 19 * 15.15)


def test_a_smoothed_stage_on_other_scales_computes_its_clean_sample():
    rows = gflops_rows("imagenet", 100, "c", funnel((6, 1, 3, 0), (10, 3, 1, 0)), PUBLIC, D16)
    assert rows[2]["gflops"] == rows[2]["gflops_computed"] == pytest.approx(9 * 139.97113344)


def test_more_kept_than_there_are_classes_costs_no_more():
    assert gflops_rows("d", 4, "c", funnel((6, 1, 10, 0), (10, 1, 1, 0)), PUBLIC, D16)[2]["passes"] == 4


def test_accuracy_row_by_hand():
    predictions = pd.DataFrame(
        {
            "label": [1, 2, 3, 4],
            "prediction": [1, 2, 9, 9],
            "rank_stage1": [1, 3, 5, 8],
            "rank_stage2": [1, 1, 4, np.nan],
        }
    )
    row = accuracy_row(predictions, 10)
    assert (row["images"], row["top1"], row["top5"]) == (4, 0.5, 0.75)
    assert (row["top1_low"], row["top1_high"]) == pytest.approx((0.15, 0.85), abs=0.005)
    assert (row["top5_low"], row["top5_high"]) == wilson_interval(3, 4)
    few = accuracy_row(predictions, 5)
    assert [few[name] for name in ("top5", "top5_low", "top5_high")] == [None] * 3
    assert list(row) == ["images", "top1", "top1_low", "top1_high", "top5", "top5_low", "top5_high", "unit"]


def test_pruning_rows_by_hand():
    # two images, three classes, two scales
    per_scale = np.array([[[-1.0, -9.0], [-2.0, -1.0], [-3.0, -1.0]], [[-5.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]])
    costs = ModelCosts(Cost(100.0, 0.0), {1: Cost(1.0, 0.0), 2: Cost(10.0, 0.0)})
    rows = pruning_rows(per_scale, np.array([0, 4, 7]), np.array([4, 7]), costs)
    found = {(row["scales"], row["k"]): (row["recall"], row["gflops"]) for row in rows}
    # after one scale: label 4 is second; 7 ties with 4, which comes first. After two: first, and second
    assert list(rows[0]) == ["scales", "tokens", "k", "recall", "recall_low", "recall_high", "unit", "gflops"]
    assert {(row["recall_low"], row["recall_high"]) for row in rows if row["recall"] == 0.5} == {wilson_interval(1, 2)}
    assert all(0 <= row["recall_low"] <= row["recall"] <= row["recall_high"] <= 1 for row in rows)
    assert found == {
        (1, 1): (0.0, 113.0), (1, 2): (1.0, 123.0), (1, 3): (1.0, 133.0),
        (2, 1): (0.5, 130.0), (2, 2): (1.0, 130.0), (2, 3): (1.0, 130.0),
    }  # fmt: skip
    assert {row["tokens"] for row in rows} == {None}
    seen = pruning_rows(per_scale, np.array([0, 4, 7]), np.array([4, 7]), costs, tokens=[1, 5])
    assert [(row["scales"], row["tokens"]) for row in seen] == [(1, 1)] * 3 + [(2, 5)] * 3
    assert [{**row, "tokens": None} for row in seen] == rows


def test_tables_as_csv_and_markdown(tmp_path):
    table = pd.DataFrame({"name": ["a|b", "c"], "value": [1234567.891, np.nan], "count": pd.array([3, None], "Int64")})
    assert as_markdown(shown(table, "t")).splitlines()[2:] == ["| a\\|b | 1.23457e+06 | 3 |", "| c |  |  |"]
    write_table(table, tmp_path / "t.csv", tmp_path / "t.md", "How it was got.")
    assert pd.read_csv(tmp_path / "t.csv")["value"][0] == 1234567.891
    assert (tmp_path / "t.md").read_text().startswith("How it was got.\n\n| name | value | count |")


def test_shares_are_shown_in_percent_and_stay_fractions_in_csv(tmp_path):
    table = pd.DataFrame({"top1": [0.9534, np.nan], "top1_low": [0.92449, 0.0], "p": [0.05, 1.0], "images": [7, 8]})
    write_table(table, tmp_path / "accuracy.csv", tmp_path / "accuracy.md", "Top-1.")
    assert (tmp_path / "accuracy.md").read_text().splitlines()[2:] == [
        "| top1 % | top1_low % | p | images |",
        "| --- | --- | --- | --- |",
        "| 95.3 | 92.4 | 0.05 | 7 |",
        "|  | 0.0 | 1 | 8 |",
    ]
    assert pd.read_csv(tmp_path / "accuracy.csv")["top1"][0] == 0.9534


def test_a_prediction_that_stands_for_the_label_counts():
    predictions = pd.DataFrame({"label": [1, 1, 1], "prediction": [1, 2, 3], "rank_stage1": [1, 1, 2]})
    assert accuracy_row(predictions, 10)["top1"] == pytest.approx(2 / 3)


def test_recall_takes_the_best_of_the_classes_that_stand_for_a_label():
    per_scale = np.array([[[-3.0], [-1.0], [-2.0]]])  # classes 0, 4, 7; 0 and 7 stand for label 0
    costs = ModelCosts(Cost(1.0, 0.0), {1: Cost(1.0, 0.0)})
    rows = pruning_rows(per_scale, np.array([0, 4, 0]), np.array([0]), costs)
    assert [row["recall"] for row in rows] == [0.0, 1.0, 1.0]


def test_published_figures_stand_beside_ours(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text("dataset,classifier,top1,gflops\na,varc,0.5,\n")
    table = pd.DataFrame({"dataset": ["a", "b"], "classifier": ["varc", "varc"], "top1": [0.1, 0.2]})
    found = with_published(table, path, {"top1": "paper_top1"})
    assert found["paper_top1"].tolist()[0] == 0.5 and np.isnan(found["paper_top1"].tolist()[1])
    assert found["top1"].tolist() == [0.1, 0.2]
    assert with_published(table, None, {"top1": "paper_top1"}) is table


def test_a_file_that_knows_none_of_the_rows_adds_no_columns(tmp_path):
    (tmp_path / "p.csv").write_text("dataset,classifier,top1,gflops\nother,varc,0.5,10\n")
    table = pd.DataFrame({"dataset": ["digits"], "classifier": ["varc"]})
    assert list(with_published(table, tmp_path / "p.csv", {"gflops": "paper_gflops"})) == ["dataset", "classifier"]
    (tmp_path / "p.csv").write_text("dataset,classifier,top1,gflops\ndigits,varc,0.5,10\n")
    assert with_published(table, tmp_path / "p.csv", {"gflops": "paper_gflops"})["paper_gflops"].tolist() == [10]


def test_a_plan_stands_beside_the_fact(tmp_path):
    names = {"dataset": ["d", "d"], "classifier": ["c", "c"]}
    cost = pd.DataFrame({**names, "stage": ["encoder", "stage1"], "device_seconds": [9.0, 90.0]})
    plan = pd.DataFrame({**names, "stage": ["stage1", "total"], "device_hours": [0.02, 1.0]})
    plan.to_csv(tmp_path / "plan.csv", index=False)
    found = with_plan(cost, tmp_path / "plan.csv").set_index("stage")
    assert found.loc["stage1", "planned_seconds"] == pytest.approx(72)
    assert found.loc["stage1", "of_plan"] == pytest.approx(1.25)
    assert pd.isna(found.loc["encoder", "of_plan"])
    assert with_plan(cost, None) is cost
