"""Files of pairs: what they say, and what is refused."""

import os

import pytest

from varc.data.manifest import Listed
from varc.errors import InputError
from varc.explain.pairs import Pair, check_classes, has_counterparts, listed_pairs, read_pairs

HEAD = "image_id,target,against,counterpart\n"
LISTED = [Listed("a", 0, ""), Listed("b", 1, ""), Listed("cafe\u0301", 2, "")]


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "p.csv").write_text(text)
        return tmp_path / "p.csv"

    return write


def test_rows_are_read_in_any_order_of_columns_with_their_lines(written):
    found = read_pairs(written("against,note,image_id,target\n1,x,a,0\n\n0,y,b,1\n"))
    assert found == [Pair("a", 0, 1, None, 2), Pair("b", 1, 0, None, 4)]
    assert not has_counterparts(found)
    assert has_counterparts(read_pairs(written(HEAD + "a,0,1,b\n")))


BAD = {
    "empty": (HEAD, "no pairs; expected the columns image_id, target, against"),
    "no column": ("image_id,target\na,0\n", "line 2: against is missing: .*the columns are image_id, target.*; add it"),
    "an empty cell": (HEAD + "a,0,1,b\nb,1,0,\n", "line 3: counterpart is missing: .*; add it"),
    "a short line": (HEAD + "a,0\n", "line 2: against is missing"),
    "given twice": (HEAD + "a,0,1,b\nb,1,0,a\na,0,2,b\n", "line 4: image_id 'a' is in line 2 too; keep one of the two"),
    "twice in two spellings": (
        HEAD + "caf\u00e9,0,1,b\ncafe\u0301,0,1,b\n", "line 3: image_id 'cafe\u0301' is in line 2 too"
    ),
    "told from itself": (HEAD + "a,3,3,b\n", "line 2: target and against are both 3; name two classes"),
    "no number": (HEAD + "a,0,one,b\n", "line 2: against is 'one', expected a class_id from 0"),
    "below 0": (HEAD + "a,-1,0,b\n", "line 2: target is '-1', expected a class_id from 0"),
    "far too large": (HEAD + f"a,0,{'9' * 5000},b\n", "line 2: against is .*expected a class_id"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_its_line(name, written):
    text, message = BAD[name]
    with pytest.raises(InputError, match=f"p.csv.*{message}"):
        read_pairs(written(text))


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.csv: the pairs cannot be read .*; set pairs to the file"):
        read_pairs(tmp_path / "absent.csv")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: the pairs cannot be read"):
        read_pairs(tmp_path / "pipe")


def test_classes_must_be_in_the_class_list():
    check_classes("p.csv", [Pair("a", 0, 1, None, 2)], [0, 1])
    for pair, which in ((Pair("a", 5, 1, None, 7), "target"), (Pair("a", 1, 5, None, 7), "against")):
        with pytest.raises(InputError, match=f"p.csv, line 7: {which} 5 is not in the class list"):
            check_classes("p.csv", [pair], [0, 1])


def test_pairs_come_in_the_order_of_the_images_under_their_names():
    pairs = [Pair("caf\u00e9", 2, 0, None, 2), Pair("a", 0, 1, None, 3)]
    found = listed_pairs("p.csv", pairs, LISTED)
    assert [pair.image_id for pair in found] == ["a", "cafe\u0301"] and [pair.line for pair in found] == [3, 2]


UNFIT = {
    "an image that is not there": (Pair("z", 0, 1, None, 4), "image_id 'z' is no image of the data set"),
    "a counterpart that is not there": (Pair("a", 0, 1, "z", 4), "counterpart 'z' is no image of the data set"),
    "a picture of another class": (Pair("a", 1, 2, "b", 4), "image_id 'a' shows class 0, not 1"),
    "a counterpart of another class": (Pair("a", 0, 2, "b", 4), "counterpart 'b' shows class 1, not 2"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_pairs_that_do_not_fit_the_images_are_named_with_their_line(name):
    pair, message = UNFIT[name]
    with pytest.raises(InputError, match=f"p.csv, line 4: {message}"):
        listed_pairs("p.csv", [pair], LISTED)


def test_without_counterparts_any_two_classes_can_be_told_apart():
    assert listed_pairs("p.csv", [Pair("a", 1, 2, None, 2)], LISTED)
