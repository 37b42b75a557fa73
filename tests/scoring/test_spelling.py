import pytest

from varc.errors import InputError
from varc.scoring.spelling import FixedStage, read_funnel

PAPER = [FixedStage(6, 1, 10), FixedStage(10, 1, 3), FixedStage(10, 3, 1)]


def test_a_funnel_as_text_and_as_a_config_has_it():
    assert read_funnel("6x1-keep10 10x1-keep3 10x3", 10) == PAPER
    assert read_funnel("6x1-keep10  10x1-keep3 10x3-keep1", 10) == PAPER
    stages = [{"scales": 6, "keep": 10}, {"scales": 10, "keep": 3}, {"scales": 10, "samples": 3, "keep": 1}]
    assert read_funnel(stages, 10) == PAPER == read_funnel(PAPER, 10)
    assert read_funnel("3x2-bf16-keep4 5x1", 5)[0] == FixedStage(3, 2, 4, "bf16")
    assert read_funnel(None, 7) == [FixedStage(7)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("6x1-keep10 10x1-keep3 10x3", "funnel: 1: scales is 10, but the model has 8; give 8 or fewer"),
        ("6x1-keep3 8x1-keep3 8x3", "funnel: 1: keep is 3 after 3; it must fall from stage to stage"),
        ("6x1-keep3", "funnel: the last stage has keep 3; it must be 1"),
        ("6-keep3 8x1", "funnel: '6-keep3': expected <scales>x<samples>-keep<classes>, such as 6x1-keep10"),
        ("0x1", "funnel: '0x1': expected"),
        ("", "funnel: has no stage"),
        ([], "funnel: has no stage"),
        ([{"scale": 3}], "expected a stage with scales, and of scales, samples, keep, precision, guidance"),
        ([{"scales": 3, "samples": 0}], "funnel: samples is 0; expected a whole number from 1 on"),
        ([{"scales": "3"}], "funnel: scales is '3'; expected a whole number"),
        ([{"scales": True}], "funnel: scales is True"),
        ([{"scales": 3, "precision": "half"}], "funnel: precision is 'half'; expected float32, tf32, bf16"),
        ([3], "funnel: 3: expected a stage"),
    ],
)
def test_what_is_no_funnel_is_named(given, words):
    with pytest.raises(InputError) as error:
        read_funnel(given, 8)
    assert words in str(error.value)
