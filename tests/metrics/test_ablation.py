import numpy as np
import pandas as pd
import pytest

from varc.metrics.ablation import ablation_row, paper_kind, share_changed, smoothing_rows, with_paper
from varc.metrics.accuracy import wilson_interval
from varc.metrics.paired import difference_of_counts


def test_a_row_by_hand():
    clean = np.array([[-1.0, -2.0], [-5.0, -4.0], [-3.0, -6.0], [-8.0, -7.0]])
    noisy = np.array([[-4.0, -2.0], [-5.0, -9.0], [-3.0, -6.0], [-8.0, -7.0]])
    own = np.tile([True, False], (4, 1))
    row = ablation_row(np.stack([clean, noisy]), own, clean.argmax(1) == 0, tokens=2)
    assert row["top1"] == 0.5  # the mean turns image 0 wrong and image 1 right
    assert (row["top1_low"], row["top1_high"]) == wilson_interval(2, 4)
    assert row["vs_plain_difference"] == 0.0 and row["vs_plain_p"] == 1.0
    assert row["log_likelihood_per_token"] == pytest.approx(-(1 + 5 + 3 + 8) / 4 / 2)


def test_the_plain_classifier_is_not_compared_with_itself():
    samples, own = np.array([[[-1.0, -2.0], [-5.0, -4.0]]]), np.tile([True, False], (2, 1))
    row = ablation_row(samples, own, None, tokens=1)
    names = [f"vs_plain_{name}" for name in ("difference", "low", "high", "p", "gained", "lost")]
    assert [name for name in row if name.startswith("vs_plain")] == names and np.isnan(row.pop("vs_plain_p"))
    assert all(row[name] == 0 for name in names if name != "vs_plain_p")


def test_several_classes_that_stand_for_a_label_are_each_right():
    samples = np.array([[[-1.0, -2.0, -9.0], [-5.0, -4.0, -9.0], [-3.0, -6.0, -2.0]]])
    own = np.array([[True, True, False]] * 3)
    row = ablation_row(samples, own, np.array([True, True, True]), tokens=1)
    assert row["top1"] == 2 / 3
    assert row["log_likelihood_per_token"] == pytest.approx(-(1 + 4 + 3) / 3)  # of the better of the two
    assert [found["top1"] for found in smoothing_rows(samples, own, [1])] == [2 / 3] * 2


def test_both_ways_to_combine_samples():
    samples, own = np.array([[[-1.0, -3.0]], [[-30.0, -9.0]], [[-30.0, -9.0]]]), np.array([[True, False]])
    rows = {(row["samples"], row["combine"]): row["top1"] for row in smoothing_rows(samples, own, [1, 3])}
    assert rows == {
        (1, "mean_log_likelihood"): 1.0,
        (1, "log_mean_likelihood"): 1.0,
        (3, "mean_log_likelihood"): 0.0,  # -61/3 < -7
        (3, "log_mean_likelihood"): 1.0,  # the clean sample outweighs the others
    }


def test_smoothing_is_compared_with_the_clean_sample_on_the_same_images():
    """Four images: more samples mend the first two and spoil the third; the clean sample is compared with nothing."""
    clean, noisy = [[-2, -1], [-2, -1], [-1, -2], [-1, -2]], [[-1, -9], [-1, -9], [-9, -1], [-1, -2]]
    samples, own = np.array([clean, noisy], float), np.array([[True, False]] * 4)
    one, _, two, _ = smoothing_rows(samples, own, [1, 2])
    assert (two["vs_clean_gained"], two["vs_clean_lost"], two["vs_clean_difference"]) == (2, 1, 0.25)
    assert (two["vs_clean_low"], two["vs_clean_high"], two["vs_clean_p"]) == difference_of_counts(2, 1, 4)[1:4]
    assert one["vs_clean_difference"] == one["vs_clean_low"] == 0 and np.isnan(one["vs_clean_p"])


def test_changed_tokens():
    clean = np.array([[1, 2], [3, 4]], np.uint16)
    assert share_changed(clean, [clean, np.array([[1, 9], [9, 9]], np.uint16)]) == pytest.approx(0.75 / 2)


def test_the_papers_rows_stand_beside_ours(tmp_path):
    (tmp_path / "p.csv").write_text(
        "dataset,classifier,top1,gflops,source\nablation,none,0.8,10,x\nablation,both,0.9,20,x\ndigits,none,0.1,1,x\n"
    )
    table = pd.DataFrame(
        {
            "training": ["train", "cca", "cross_entropy", "cca", "train", "train"],
            "samples": [1, 10, 10, 1, 1, 1],
            "base": ["base", "base", "base", "base", "clean", "base"],
            "scale_weights": ["", "", "", "", "", "validation"],
        }
    )
    found = with_paper(table, tmp_path / "p.csv", "base")
    assert found["paper_top1"].tolist()[:2] == [0.8, 0.9] and found["paper_top1"][2:].isna().all()
    assert with_paper(table, None, "base") is table
    assert [paper_kind(*row) for row in (("train", 5), ("public", 1), ("cca", 1))] == ["smoothing", None, "cca"]
