"""What truly tells two classes apart."""

import numpy as np
import pytest

from varc.errors import InputError
from varc.explain import contrast
from varc.explain.contrast import grey, mean_masks, patch_means, truth
from varc.explain.pairs import Pair


def pictures():
    """A frame, the same with a bar, and a blank, as a model takes them."""
    frame = np.zeros((32, 32), np.uint8)
    frame[6:26, 8:24] = 255
    frame[8:24, 10:22] = 0
    barred = frame.copy()
    barred[14:18, 12:20] = 255
    return {"frame": frame, "barred": barred, "same": frame}


@pytest.fixture
def loaded(monkeypatch):
    def load(spec, listed, side):
        return np.stack([np.repeat(pictures()[image.image_id][..., None], 3, 2) for image in listed])

    monkeypatch.setattr(contrast, "load_images", load)
    from varc.data.manifest import Listed

    return [Listed(name, i, "") for i, name in enumerate(pictures())]


def test_the_truth_is_what_one_picture_has_and_the_other_lacks(loaded):
    found = truth({}, [Pair("barred", 1, 0, "frame", 2), Pair("frame", 0, 1, "barred", 3)], loaded, 32, "p.csv")
    bar = np.zeros((32, 32), bool)
    bar[14:18, 12:20] = True
    assert (found.masks == bar).all() and found.present.tolist() == [True, False]
    assert np.array_equal(grey(found.pictures), np.stack([pictures()["barred"], pictures()["frame"]]))


def test_pictures_that_do_not_differ_are_refused_by_line(loaded):
    with pytest.raises(
        InputError, match=r"p\.csv, line 5: frame and its counterpart same differ nowhere; take the line"
    ):
        truth({}, [Pair("frame", 0, 2, "same", 5)], loaded, 32, "p.csv")


def test_the_mean_mask_is_of_the_same_pair_in_other_groups():
    masks = np.zeros((5, 2, 2), bool)
    masks[0, 0, 0] = masks[1, 0, 1] = masks[2, 1, 0] = masks[3, 1, 0] = masks[4, 1, 1] = True
    kinds = ["EF", "EF", "EF", "EF", "OQ"]
    groups = ["one", "one", "two", "three", "one"]
    found = mean_masks(masks, kinds, groups)
    assert found[0].tolist() == found[1].tolist() == [[0, 0], [1, 0]]  # of two and three alone
    third = 1 / 3
    assert found[2] == pytest.approx(np.array([[third, third], [third, 0]]))
    assert found[4].tolist() == [[0, 0], [0, 0]]  # no other group has the pair


def test_no_mask_of_the_own_group_counts_whatever_it_is():
    rng = np.random.default_rng(0)
    masks, groups = rng.random((12, 4, 4)) < 0.5, np.arange(12) % 3
    before = mean_masks(masks, ["EF"] * 12, groups.tolist())
    masks[groups == 1] = rng.random((4, 4, 4)) < 0.5
    after = mean_masks(masks, ["EF"] * 12, groups.tolist())
    assert np.array_equal(before[groups == 1], after[groups == 1])
    assert (before[groups == 0] != after[groups == 0]).any()


def test_patches_by_hand():
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert patch_means(values, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
