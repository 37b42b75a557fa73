import html
import re

import pandas as pd
import pytest

from varc.report.front import Made, front, reading, what_ran

ROW = {
    "dataset": "glyphs", "model": "base", "images": 1000, "skipped": 0, "top5": None, "top5_low": None,
    "top5_high": None, "unit": "group", "seconds_per_image": 0.25,
}  # fmt: skip
MADE = Made("28 November 2026, 06:39 UTC", ["cpu"], "0.1.0", "0123456789abcdef-dirty")


def rows(*found, **given):
    """Rows of tables/accuracy.csv from classifier, top-1, its interval and GFLOPs."""
    keys = ("classifier", "top1", "top1_low", "top1_high", "gflops_per_image")
    return pd.DataFrame([{**ROW, **dict(zip(keys, row, strict=True)), **given} for row in found])


def test_the_best_and_what_is_as_good_for_less():
    table = rows(("a", 0.953, 0.924, 0.973, 0.94), ("b", 0.954, 0.93, 0.972, 2.43), ("c", 0.952, 0.928, 0.97, 0.431))
    assert reading(table) == [
        "On glyphs b has the highest top-1: 95.4 [93.0, 97.2] % of 1,000 images, for 2.43 GFLOPs and 0.25 s an image. "
        "The intervals of a and c overlap with its own: this table alone does not put them in order. Of them c costs "
        "least: 0.431 GFLOPs an image, 17.7 % of b's, with 95.2 [92.8, 97.0] %. Intervals are of 95 %, over groups of "
        "images that hang together."
    ]


def test_a_clear_best_and_one_alone():
    (told,) = reading(rows(("a", 0.9, 0.88, 0.92, 1.0), ("b", 0.8, 0.78, 0.82, 0.1), unit="image"))
    assert "No interval reaches its own; b is next with 80.0 [78.0, 82.0] %." in told and "over images." in told
    (told,) = reading(rows(("a", 0.9, 0.88, 0.92, 1.0)))
    assert told.startswith("On glyphs a is right on 90.0 [88.0, 92.0] %") and "overlap" not in told


def test_a_cheaper_best_says_so_and_each_data_set_is_read_apart():
    table = rows(("a", 0.9, 0.88, 0.92, 1.0), ("b", 0.89, 0.87, 0.91, 3.0))
    both = reading(pd.concat([table, table.assign(dataset="digits", top1=[0.5, 0.6])]))
    assert (
        len(both) == 2
        and "None of them costs less." in both[0]
        and both[1].startswith("On digits b has the highest top-1: 60.0")
    )


def test_what_ran_says_what_was_left_out_and_that_the_code_was_changed():
    told = what_ran(rows(("a", 0.9, 0.88, 0.92, 1.0), skipped=3), MADE)
    assert told == (
        "1 classifier on 1,000 images of glyphs. 3 images could not be read and count nowhere. Scored on cpu; the "
        "tables were made on 28 November 2026, 06:39 UTC by varc 0.1.0, commit 0123456789ab with changes."
    )


@pytest.fixture
def page(tmp_path):
    (tmp_path / "plot.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    listed = [("Cost", "Which <classes>", "results/r/report/it's.html")]
    table = rows(("a<b>", 0.953, 0.924, 0.973, 0.94), ("c", 0.5, 0.4, 0.6, 0.1))
    return front("run<script>", table, MADE, [("A plot", tmp_path / "plot.svg")], listed)


def test_the_front_page_has_the_numbers_of_the_table(page):
    cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page)]
    assert cells == [
        *["glyphs", "a<b>", "1,000", "95.3 [92.4, 97.3]", "", "0.94", "0.25"],
        *["glyphs", "c", "1,000", "50.0 [40.0, 60.0]", "", "0.1", "0.25"],
    ]


def test_names_are_no_html_and_nothing_is_loaded(page):
    assert "<script" not in page and "a<b>" not in page and "<classes>" not in page
    assert "it's" not in page and r"it\u0027s.html" in page  # which would end the attribute
    assert re.findall(r'src="(.{14})', page) == ["data:image/svg"]
    assert "http" not in page
