import pandas as pd

from varc.metrics.shown import shown


def test_what_is_a_share_hangs_on_the_table():
    table = pd.DataFrame({"difference": [-0.00004], "mean": [0.82], "low": [0.5]})
    assert shown(table, "main_paired").to_dict("list") == {"difference %": ["0.0"], "mean": ["0.82"], "low %": ["50.0"]}
    assert list(shown(table, "contrast")) == ["difference", "mean", "low"]  # areas under curves are no shares
    names = {"vs_fixed_low", "drop_difference_high", "paper_top1", "recall", "observed_early_loss", "ece_before"}
    others = {"vs_edge_low", "auc", "alpha", "vs_fixed_p", "gflops", "drop_difference_p", "top1_seconds"}
    columns = list(shown(pd.DataFrame([dict.fromkeys(sorted(names | others), 0.1)]), "any"))
    assert {column.removesuffix(" %") for column in columns if column.endswith(" %")} == names
