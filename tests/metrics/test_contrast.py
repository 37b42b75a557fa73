"""How well maps find a mask, by closed forms; the table of it."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from varc.metrics.contrast import (
    MEASURES,
    area_under_roc,
    clearest,
    contrast_rows,
    contrast_table,
    enlarged,
    localise,
    overlap,
    pointing,
    signs,
    worst,
)
from varc.metrics.explanation import mean_interval, p_of_mean
from varc.metrics.holm import holm

SIDE = 8


def masks(n=3):
    found = np.zeros((n, SIDE, SIDE), bool)
    for i in range(n):
        found[i, i : i + 2, 1:4] = True
    return found


def test_a_map_that_is_the_mask_is_right_in_all():
    found = localise(masks().astype(np.float32), masks())
    assert (np.array(found) == 1).all()
    opposite = localise(-masks().astype(np.float32), masks())
    assert (opposite.auc == 0).all() and (opposite.iou == 0).all() and (opposite.pointing == 0).all()


@pytest.mark.parametrize("grid", [2, 3, 8])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3e5])
def test_a_constant_map_has_what_chance_gives(grid, value):
    """Enlarged it is constant still: no tie is broken by rounding."""
    found = localise(np.full((3, grid, grid), value, np.float32), masks())
    assert found.auc == pytest.approx([0.5] * 3) and found.pointing == pytest.approx([6 / 64] * 3)


def test_the_overlap_of_ties_is_the_expected_one():
    inside = np.zeros(16, bool)
    inside[3] = True
    assert overlap(np.zeros(16), inside) == pytest.approx(1 / 16)  # one pixel, drawn from all
    values, inside = np.array([5.0, 2, 2, 2, 1]), np.array([True, True, False, False, True])
    # 5 is taken for sure; two of the three twos are drawn, of which one is in the mask
    drawn = [{0, *two} for two in combinations((1, 2, 3), 2)]
    expected = np.mean([len(one & {0, 1, 4}) / len(one | {0, 1, 4}) for one in drawn])
    assert overlap(values, inside) == pytest.approx(expected)


def test_pairs_of_pixels_are_counted_with_ties_a_half():
    values, inside = np.array([[1.0, 2, 2, 3]]), np.array([[False, True, False, True]])
    assert area_under_roc(values, inside) == pytest.approx([(1 + 0.5 + 2) / 4])


def test_pointing_shares_ties():
    assert pointing(np.array([[1.0, 4, 4, 4]]), np.array([[True, True, False, True]])) == pytest.approx([2 / 3])


def test_permuted_maps_find_the_mask_by_chance():
    rng = np.random.default_rng(0)
    mask = masks(1).repeat(2000, 0)
    shuffled = rng.permuted(mask.astype(np.float32).reshape(2000, -1), axis=1).reshape(mask.shape)
    found = localise(shuffled, mask)
    assert found.auc.mean() == pytest.approx(0.5, abs=0.01)
    assert found.pointing.mean() == pytest.approx(6 / 64, abs=0.01)


def test_auc_and_overlap_follow_the_order_of_values_alone():
    rng = np.random.default_rng(1)
    values, inside = rng.random((4, 64)), rng.random((4, 64)) < 0.2
    assert area_under_roc(values, inside) == pytest.approx(area_under_roc(np.exp(5 * values), inside))
    assert [overlap(*one) for one in zip(values, inside, strict=True)] == pytest.approx(
        [overlap(*one) for one in zip(values**3, inside, strict=True)]
    )
    assert area_under_roc(-values, inside) == pytest.approx(1 - area_under_roc(values, inside))


def test_images_do_not_depend_on_each_other(monkeypatch):
    rng = np.random.default_rng(2)
    maps, mask = rng.random((3, 4, 4), np.float32), masks()
    expected = [np.array(localise(maps[i : i + 1], mask[i : i + 1]))[:, 0] for i in range(3)]
    monkeypatch.setattr("varc.metrics.contrast.AT_ONCE", 2)
    assert np.array_equal(np.array(localise(maps, mask)), np.stack(expected, 1))
    assert [len(part) for part in localise(maps[:0], mask[:0])] == [0, 0, 0]


def test_maps_are_enlarged_bilinearly():
    found = enlarged(np.array([[[0.0, 1.0]]], np.float32), 4)
    assert found[0, 0].tolist() == [0.0, 0.25, 0.75, 1.0]


def test_which_maps_have_signs():
    assert signs("tmi_abs") == signs("tmi_absx5s0.05") == signs("edge") == signs("mean_mask") == ("absolute",)
    assert signs("tmi") == signs("lime-b30") == signs("tmi_randomised") == ("signed", "absolute")


# the table

GROUPS = [f"font {i // 2}" for i in range(20)]


def located(method, shift=0.0, sign="absolute", groups=GROUPS, images=20):
    """Measures of 20 images in 10 groups, half of which lack the ink."""
    base = np.random.default_rng(len(method)).random((3, 20)) * 0.4 + 0.3 + shift
    columns = {"image_id": [f"{i:02}" for i in range(20)], "group": groups, "present": [i % 4 < 2 for i in range(20)]}
    columns |= {"method": method, "sign": sign, **dict(zip(MEASURES, base, strict=True))}
    return pd.DataFrame(columns)[:images]


def row(table, **wanted):
    found = table
    for key, value in wanted.items():
        found = found[found[key] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_rows_are_means_with_intervals_over_groups_and_paired_differences():
    parts = [located("tmi_abs", 0.2), located("edge"), located("tmi", 0.1, "signed"), located("tmi", 0.1)]
    costs = {name: {"passes_per_image": i} for i, name in enumerate(("edge", "tmi", "tmi_abs"))}
    table = contrast_table([({"dataset": "d"}, pd.concat(parts), costs)])
    assert len(table) == 3 * 3 * 4 and (table["unit"] == "group").all()
    own, edge, tmi = (part["auc"].to_numpy() for part in (parts[0], parts[1], parts[3]))
    groups = np.repeat(np.arange(10), 2)
    found = row(table, measure="auc", split="all", method="tmi_abs")
    assert (found["images"], found["groups"], found["passes_per_image"]) == (20, 10, 2)
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((own.mean(), *mean_interval(own, groups, 0.0)))
    for name, rival in (("edge", edge), ("tmi", tmi)):
        gain = own - rival
        paired = [found[f"vs_{name}{end}"] for end in ("", "_low", "_high", "_p")]
        assert paired == pytest.approx([gain.mean(), *mean_interval(gain, groups, -1.0), p_of_mean(gain, groups)])
    none = row(table, measure="auc", split="all", method="edge")
    assert np.isnan(none["vs_edge"]) and none["vs_tmi"] == pytest.approx((edge - tmi).mean())
    own_rows = table[table["measure"] == "iou"]
    assert own_rows["vs_edge_p_holm"].to_numpy() == pytest.approx(
        holm(own_rows["vs_edge_p"].to_numpy(float)), nan_ok=True
    )


def test_splits_are_the_images_that_have_or_lack_the_difference():
    part = located("edge")
    rows = {r["split"]: r for r in contrast_rows(part) if r["measure"] == "pointing"}
    assert {name: r["images"] for name, r in rows.items()} == {"all": 20, "absent": 10, "present": 10}
    assert rows["absent"]["mean"] == pytest.approx(part.loc[~part["present"], "pointing"].mean())


def test_differences_are_over_the_images_that_both_explain():
    few, edge = located("lime-b30", images=7), located("edge", 0.1)
    found = next(r for r in contrast_rows(pd.concat([edge, few])) if r["method"] == "lime-b30")
    assert found["images"] == 7 and found["vs_edge"] == pytest.approx((few["auc"] - edge["auc"][:7]).mean())
    alone = next(contrast_rows(few))
    assert alone["vs_edge"] is None and alone["vs_tmi_p"] is None


def test_without_groups_intervals_are_over_images():
    found = next(contrast_rows(located("edge", groups=[None] * 20)))
    assert (found["unit"], found["groups"]) == ("image", None)


def test_the_best_and_the_worst_are_by_auc_and_then_by_image_id():
    part = pd.DataFrame({"image_id": ["d", "a", "c", "b"], "auc": [0.5, 0.5, 0.9, 0.1]})
    assert clearest(part, 3) == ["c", "a", "d"] and worst(part, 3) == ["b", "a", "d"]
    assert clearest(part[::-1], 9) == ["c", "a", "d", "b"]
