import numpy as np
import pandas as pd
import pytest

from varc.metrics.incremental import (
    accuracy_matrix,
    average,
    forgetting,
    incremental_rows,
    mean_interval,
    with_paper,
)

ROWS = pd.DataFrame(
    {"after_task": [0, 1, 1, 2, 2, 2], "on_task": [0, 0, 1, 0, 1, 2], "accuracy": [0.8, 0.9, 0.7, 0.5, 0.6, 1.0]}
)


def test_average_and_forgetting_by_hand():
    matrix = accuracy_matrix(ROWS.sample(frac=1, random_state=0))
    assert np.isnan(matrix[0, 1]) and matrix[2].tolist() == [0.5, 0.6, 1.0]
    assert average(matrix) == pytest.approx([0.8, 0.8, 0.7])
    assert forgetting(matrix) == pytest.approx(((0.9 - 0.5) + (0.7 - 0.6)) / 2)


def test_intervals_are_students():
    found = mean_interval([1.0, 2.0, 3.0])
    assert found["mean"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert np.isnan(mean_interval([1.0])["low"])


def test_an_interval_stays_where_the_mean_can_be():
    """Five accuracies near 1: Student's t alone would pass it."""
    found = mean_interval([1.0, 0.99, 1.0, 0.995, 1.0], 0.0, 1.0)
    assert 0.99 < found["low"] < found["mean"] < found["high"] == 1.0
    assert mean_interval([0.0, 0.01], 0.0, 1.0)["low"] == 0.0
    assert mean_interval([-0.9, -0.2], -1.0, 1.0)["low"] == -1.0


def test_no_row_of_the_table_passes_0_or_100_percent():
    perfect = np.array([[1.0, np.nan], [0.98, 1.0]])
    poor = np.array([[0.9, np.nan], [0.0, 1.0]])
    for row in incremental_rows([perfect, poor]):
        least = -1.0 if row["measure"] == "forgetting" else 0.0
        assert least <= row["low"] <= row["mean"] <= row["high"] <= 1.0, row


def test_a_strategys_rows():
    matrix = accuracy_matrix(ROWS)
    rows = incremental_rows([matrix, matrix + 0.1])
    table = pd.DataFrame(rows).set_index(["measure", "after_task"])
    assert table.loc[("average", 3), "mean"] == pytest.approx(0.75)
    assert table.loc[("forgetting", 3), "mean"] == pytest.approx(0.25)
    assert len(table.loc["accuracy"]) == 6 and (table["seeds"] == 2).all()


def test_the_papers_figures_stand_beside_two_tasks_only(tmp_path):
    (tmp_path / "p.csv").write_text(
        "dataset,classifier,top1,gflops,source\nincremental,cwr,0.7,,x\nincremental,var,0.8,,x\n"
        "incremental,diffusion,0.9,,x\n"
    )
    both = ("average", 2)
    beside = [
        ("convnet", "cwr", 2, *both),
        ("var", "var_embeddings", 2, *both),
        ("diffusion", "family_sequential", 2, *both),
    ]
    not_beside = [
        ("var", "var_joint", 2, *both),
        ("diffusion", "family_joint", 2, *both),
        ("vae", "family_sequential", 2, *both),
        ("convnet", "joint", 2, *both),
        ("convnet", "cwr", 5, *both),
        ("convnet", "cwr", 2, "accuracy", 2),
    ]
    table = pd.DataFrame([*beside, *not_beside], columns=["family", "strategy", "tasks", "measure", "after_task"])
    found = with_paper(table, tmp_path / "p.csv")["paper_average"]
    assert found[:3].tolist() == [0.7, 0.8, 0.9] and found[3:].isna().all()
