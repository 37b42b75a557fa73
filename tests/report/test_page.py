import base64
import re

import pandas as pd
import pytest
from browser import browser, needs_chromium

from varc.report.page import page

CAPTION = "A title\n=======\n\nWhat ``it`` says: x < y.\n"


@pytest.fixture
def csv(tmp_path):
    table = pd.DataFrame(
        {"classifier": ["a", "</script><script>alert(1)</script>"], "top1": [0.953, 0.5], "p": [1, 0.01]}
    )
    table.to_csv(tmp_path / "accuracy.csv", index=False)
    return tmp_path / "accuracy.csv"


def test_a_page_has_title_caption_table_and_the_file_itself(csv):
    found = page("A title", CAPTION, None, csv, "p: of a <test>.")
    assert "<h1>A title</h1>" in found and "What" in found and "x &lt; y." in found
    assert "p: of a &lt;test&gt;." in found
    assert '"95.3"' in found.replace("\\", "") and "top1 %" in found
    uri = re.search(r'download="accuracy.csv" href="data:text/csv;base64,([^"]*)"', found)[1]
    assert base64.b64decode(uri) == csv.read_bytes()


def test_a_name_ends_no_script_and_is_no_html(csv):
    found = page("<i>", CAPTION, None, csv, "")
    assert "<i>" not in found and "alert(1)" in found
    assert "<script>alert" not in found and "</script><script" not in found


def test_a_page_of_a_table_is_the_same_each_time_and_loads_nothing(csv, tmp_path):
    (tmp_path / "plot.svg").write_text("<svg/>")
    found = page("A title", CAPTION, tmp_path / "plot.svg", csv, "")
    assert found == page("A title", CAPTION, tmp_path / "plot.svg", csv, "")
    sources = re.findall(r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=[\"']?([^\"' >]{0,40})", found)
    assert sources == ["data:image/svg+xml;base64,PHN2Zy8+"]
    assert not re.search(r"""(import|url\()\s*\(?['"]?https?:""", found)


def test_a_caption_brings_no_html_and_no_file_along(tmp_path):
    (tmp_path / "secret").write_text("token")
    caption = f"T\n=\n\n.. raw:: html\n\n   <script>alert(1)</script>\n\n.. include:: {tmp_path / 'secret'}\n"
    (tmp_path / "p.png").write_bytes(b"png")
    found = page("T", caption, tmp_path / "p.png", None, "")
    assert "<script" not in found and "token" not in found
    assert 'src="data:image/png;base64,cG5n"' in found


@needs_chromium
def test_in_a_browser_a_table_sorts_and_asks_for_nothing(csv, tmp_path):
    table = pd.DataFrame({"classifier": ["a", "b", "c"], "top1": [0.09, 0.953, 0.5]})
    table.to_csv(csv, index=False)
    (tmp_path / "page.html").write_text(page("A title", CAPTION, None, csv, ""))
    with browser(tmp_path / "profile") as shown:
        shown.open((tmp_path / "page.html").as_uri())
        column = "[...document.querySelectorAll('table.dataTable tbody tr')].map(row => row.cells[1].innerText).join()"
        assert shown.until(lambda: shown.ask(column)) == "9.0,95.3,50.0"
        heading = "[...document.querySelectorAll('th')].find(cell => cell.innerText.startsWith('top1'))"
        shown.ask(f"{heading}.click()")
        assert shown.until(lambda: (found := shown.ask(column)) != "9.0,95.3,50.0" and found) == "9.0,50.0,95.3"
        assert not shown.leaving() and not shown.errors
