import numpy as np

from varc.explain.gallery import gallery

MARGINS = np.array([5.0, -3.0, -0.5, 2.0, -9.0, -1.0, -4.0])
RIGHT = MARGINS > 0
ORDER = [6, 3, 5, 4, 2, 1, 0]


def test_right_ones_in_order_then_wrong_ones_from_either_end():
    assert gallery(MARGINS, RIGHT, ORDER, 2) == [3, 0, 2, 5, 4, 6]
    assert gallery(MARGINS, RIGHT, ORDER, 1) == [3, 2, 4]


def test_none_is_shown_twice_where_there_are_few():
    assert gallery(MARGINS, RIGHT, ORDER, 4) == [3, 0, 2, 5, 1, 6, 4]
    assert gallery(MARGINS, RIGHT, [6, 3], 4) == [3, 6]  # the others are not explained
